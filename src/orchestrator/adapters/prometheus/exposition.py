"""Families as Prometheus' text format or OpenMetrics, with the numbers of the process itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import sleep

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as PrometheusMetric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from orchestrator.ports.telemetry import Distribution, Family, Kind


class PrometheusExposition:
    """`ports.telemetry.Exposition`. Nothing is registered and nothing is kept between two scrapes."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)

    def render(self, families: Iterable[Family], accept: str) -> tuple[str, bytes]:
        encode, content_type = choose_encoder(accept)
        return content_type, encode(_Scrape(families, self._process))


class _Scrape(Collector):
    """The families of one scrape, in the shape that the encoders read."""

    def __init__(self, families: Iterable[Family], process: Collector) -> None:
        self._families = families
        self._process = process

    def collect(self) -> Iterator[PrometheusMetric]:
        for family in self._families:
            yield _translate(family)
            sleep(0)  # this runs beside the event loop, which gets its turn at the interpreter here
        yield from self._process.collect()


def _translate(family: Family) -> PrometheusMetric:
    metric = family.metric
    if metric.kind is Kind.HISTOGRAM:
        return _histogram(family)
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    found: CounterMetricFamily | GaugeMetricFamily = kind(family.name, metric.help, labels=metric.labels)
    for labels, value in family.samples:
        if not isinstance(value, Distribution):
            found.add_metric(labels, value)
    return found


def _histogram(family: Family) -> HistogramMetricFamily:
    found = HistogramMetricFamily(family.name, family.metric.help, labels=family.metric.labels)
    for labels, value in family.samples:
        if isinstance(value, Distribution):
            found.add_metric(labels, list(_cumulative(value)), value.total)
    return found


def _cumulative(distribution: Distribution) -> Iterator[tuple[str, float]]:
    """`le` and the number of values up to it; the counts of our own histograms are per bucket."""
    seen = 0
    bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
    for bound, count in zip(bounds, distribution.counts, strict=True):
        seen += count
        yield bound, seen
