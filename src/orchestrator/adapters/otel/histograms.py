"""Histograms with fixed buckets, summed since the start, and what OTLP calls them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, Metric
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

from orchestrator.adapters.otel.attributes import Attributes

_DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKENS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_LATER_TOKENS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(float(4**power) for power in range(14))


@dataclass(frozen=True, slots=True)
class Instrument:
    """A histogram of the GenAI conventions, with the bounds that these advise."""

    name: str
    unit: str
    help: str
    bounds: tuple[float, ...]


TOKEN_USAGE = Instrument("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS)
OPERATION_DURATION = Instrument("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _DURATIONS)
REQUEST_DURATION = Instrument(
    "gen_ai.server.request.duration",
    "s",
    "Generative AI server request duration such as time-to-last byte or last output token.",
    _DURATIONS,
)
TIME_TO_FIRST_TOKEN = Instrument(
    "gen_ai.server.time_to_first_token",
    "s",
    "Time to generate first token for successful responses.",
    _FIRST_TOKENS,
)
TIME_PER_OUTPUT_TOKEN = Instrument(
    "gen_ai.server.time_per_output_token",
    "s",
    "Time per output token generated after the first token for successful responses.",
    _LATER_TOKENS,
)


INSTRUMENTS = (TOKEN_USAGE, OPERATION_DURATION, REQUEST_DURATION, TIME_TO_FIRST_TOKEN, TIME_PER_OUTPUT_TOKEN)


class Histogram:
    """Observations with the same attributes."""

    __slots__ = ("bounds", "counts", "largest", "smallest", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.smallest = float("inf")
        self.largest = float("-inf")

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value < self.smallest:
            self.smallest = value
        if value > self.largest:
            self.largest = value

    def point(self, attributes: Mapping[str, str | int | float | bool], start: int, now: int) -> HistogramDataPoint:
        """`start` and `now` in nanoseconds since the epoch."""
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=start,
            time_unix_nano=now,
            count=sum(self.counts),
            sum=self.total,
            bucket_counts=tuple(self.counts),
            explicit_bounds=self.bounds,
            min=self.smallest,
            max=self.largest,
        )


def metric(instrument: Instrument, found: Iterable[tuple[Attributes, Histogram]], start: int, now: int) -> Metric:
    points = [histogram.point(attributes, start, now) for attributes, histogram in found]
    return Metric(
        instrument.name, instrument.help, instrument.unit, HistogramData(points, AggregationTemporality.CUMULATIVE)
    )
