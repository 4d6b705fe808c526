"""The metrics of the GenAI conventions, sent by OTLP over HTTP.

On the event loop a request costs one append. A thread adds up what was appended, a few times a second, and sends the
sums. The SDK's own instruments would do the same adding up for about twenty times the CPU, which the thread takes from
the event loop; so only its exporter is used.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Thread
from time import monotonic, sleep, time, time_ns
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from orchestrator.adapters.otel import histograms
from orchestrator.adapters.otel.attributes import ESTIMATED, LONGEST_NAME, Attributes, Server, dialect, operation
from orchestrator.adapters.otel.histograms import Histogram, Instrument
from orchestrator.ports.record import RequestRecord

__all__ = ["GenAiMetrics", "Server"]

BEAT = 0.25  # seconds between two drains
MOST_WAITING = 131_072  # requests; beyond, they are not counted
MOST_SUBJECTS = 2000  # combinations of model, node and operation; those after them share one point
BREATH = 64  # records
_SEND_TIMEOUT = 5.0  # seconds
_PATIENCE = 5.0  # seconds that a shutdown waits
_PATH = "/v1/metrics"
_OVERFLOW = "otel.metric.overflow"  # the SDK specification's name for what has no room of its own
_log = logging.getLogger("orchestrator.genai_metrics")


class Subject(NamedTuple):
    """What an observation is of. An empty text and port 0: not known, and left out."""

    operation: str = ""
    provider: str = ""
    asked: str = ""  # the model that the client named
    answered: str = ""  # as the node names it
    address: str = ""
    port: int = 0


OTHERS = Subject()
INPUT, OUTPUT = gen_ai.GenAiTokenTypeValues.INPUT.value, gen_ai.GenAiTokenTypeValues.OUTPUT.value


class Sums:
    """The histograms of one subject, by instrument, kind of token, error and whether from an estimate."""

    __slots__ = ("found", "subject")

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.found: dict[tuple[str, str, str, bool], Histogram] = {}

    def observe(
        self, instrument: Instrument, value: float, kind: str = "", error: str = "", estimated: bool = False
    ) -> None:
        key = (instrument.name, kind, error, estimated)
        histogram = self.found.get(key)
        if histogram is None:
            histogram = self.found[key] = Histogram(instrument.bounds)
        histogram.observe(value)

    def of(self, instrument: Instrument) -> Iterator[tuple[Attributes, Histogram]]:
        for (name, kind, error, estimated), histogram in self.found.items():
            if name == instrument.name:
                yield _attributes(self.subject, kind, error, estimated), histogram


class Drain:
    """What need not be looked up again while what waits is counted."""

    __slots__ = ("servers", "sums")

    def __init__(self) -> None:
        self.servers: dict[str, Server | None] = {}
        self.sums: dict[tuple[str, str, str, str, str], Sums] = {}


class GenAiMetrics:
    """`ports.telemetry.RequestSink` that sends sums."""

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str],
        service_name: str,
        version: str,
        interval: float,
        server_of: Callable[[str], Server | None],
        known: Callable[[str], bool],
    ) -> None:
        """`endpoint` is the collector's base URL, `interval` in seconds; `server_of` tells where a node is, None for
        one that is gone; `known` whether the fleet has a model: a name that a client made up is no label."""
        base = endpoint.rstrip("/").removesuffix("/v1/traces")
        url = base if base.endswith(_PATH) else base + _PATH
        self._exporter = OTLPMetricExporter(endpoint=url, headers=dict(headers), timeout=_SEND_TIMEOUT)
        self._resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: version})
        self._scope = InstrumentationScope("orchestrator", version)
        self._interval = interval
        self._server_of = server_of
        self._known = known
        self._start = time_ns()
        self._pending: deque[RequestRecord] = deque()
        self._lost = 0
        self._told = 0  # losses that the log knows of
        self._sums: dict[Subject, Sums] = {}
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="genai-metrics", daemon=True)
        self._thread.start()

    def add(self, record: RequestRecord) -> None:
        if len(self._pending) < MOST_WAITING:
            self._pending.append(record)
        else:
            self._lost += 1

    def close(self) -> None:
        """Sends the last sums, for a bounded time."""
        self._stopping.set()
        self._thread.join(_PATIENCE)
        self._exporter.shutdown()

    def _run(self) -> None:
        sent = monotonic()
        while not self._stopping.wait(BEAT):
            self._drain()
            if monotonic() - sent >= self._interval:
                sent = monotonic()
                self._send()
        self._drain()
        self._send()

    def _drain(self) -> None:
        drain = Drain()
        pending = self._pending
        for index in range(len(pending)):
            record = pending.popleft()
            try:
                self._count(record, drain)
            except Exception:  # noqa: BLE001 - the thread's edge
                _log.exception("bug", extra={"request": record.id})
            if not index % BREATH:
                sleep(0)  # the event loop gets its turn at the interpreter here

    def _send(self) -> None:
        lost = self._lost
        if lost > self._told:
            _log.warning("genai_metrics_lost", extra={"count": lost - self._told})
            self._told = lost
        if not self._sums:
            return
        now = time_ns()
        metrics = [
            histograms.metric(
                instrument, (one for sums in self._sums.values() for one in sums.of(instrument)), self._start, now
            )
            for instrument in histograms.INSTRUMENTS
        ]
        metrics = [one for one in metrics if one.data.data_points]
        scopes = [ScopeMetrics(self._scope, metrics, "")]
        try:
            self._exporter.export(MetricsData([ResourceMetrics(self._resource, scopes, "")]))
        except Exception:  # noqa: BLE001 - the thread's edge
            _log.exception("bug")

    # What one request adds

    def _count(self, record: RequestRecord, drain: Drain) -> None:
        attempts = record.attempts
        sums = self._of(drain, record, record.node, attempts[-1].model if attempts else "", "")
        error = record.error or ("" if record.outcome == "ok" else record.outcome)
        sums.observe(histograms.REQUEST_DURATION, record.duration, "", error)
        tokens, estimated = record.completion_tokens, record.estimated
        if record.prompt_tokens:
            sums.observe(histograms.TOKEN_USAGE, record.prompt_tokens, INPUT)
        if tokens:
            sums.observe(histograms.TOKEN_USAGE, tokens, OUTPUT, "", estimated)
        if record.outcome == "ok" and record.stream and record.ttft is not None:
            sums.observe(histograms.TIME_TO_FIRST_TOKEN, record.ttft)
            if tokens > 1:
                rest = max(record.duration - record.ttft, 0.0) / (tokens - 1)
                sums.observe(histograms.TIME_PER_OUTPUT_TOKEN, rest, "", "", estimated)
        for attempt in attempts:  # to a node the service is the client
            # One that nobody saw the end of ended with the request; attempts are timed in monotonic seconds.
            ended = attempt.ended or record.at + record.duration - (time() - monotonic())
            tried = self._of(drain, record, attempt.node_id, attempt.model, attempt.dialect)
            tried.observe(histograms.OPERATION_DURATION, max(ended - attempt.started, 0.0), "", attempt.kind)

    def _of(self, drain: Drain, record: RequestRecord, node: str, model: str, spoken: str) -> Sums:
        key = (record.endpoint, node, record.model, model, spoken)
        sums = drain.sums.get(key)
        if sums is None:
            sums = drain.sums[key] = self._found(drain, record, node, model, spoken or dialect(record))
        return sums

    def _found(self, drain: Drain, record: RequestRecord, node: str, model: str, spoken: str) -> Sums:
        if node not in drain.servers:
            drain.servers[node] = self._server_of(node) if node else None
        server = drain.servers[node]
        subject = Subject(
            operation(record),
            server.provider if server is not None else spoken,
            record.model[:LONGEST_NAME] if record.attempts or self._known(record.model) else "",
            model[:LONGEST_NAME],
            server.address if server is not None else "",
            server.port if server is not None else 0,
        )
        if subject not in self._sums and len(self._sums) >= MOST_SUBJECTS:
            subject = OTHERS
        sums = self._sums.get(subject)
        if sums is None:
            sums = self._sums[subject] = Sums(subject)
        return sums


def _attributes(subject: Subject, kind: str, error: str, estimated: bool) -> Attributes:
    found: Attributes = {gen_ai.GEN_AI_TOKEN_TYPE: kind} if kind else {}
    if error:
        found[error_attributes.ERROR_TYPE] = error
    if estimated:
        found[ESTIMATED] = True
    if subject == OTHERS:
        return found | {_OVERFLOW: True}
    found |= {gen_ai.GEN_AI_OPERATION_NAME: subject.operation, gen_ai.GEN_AI_PROVIDER_NAME: subject.provider}
    if subject.asked:
        found[gen_ai.GEN_AI_REQUEST_MODEL] = subject.asked
    if subject.answered:
        found[gen_ai.GEN_AI_RESPONSE_MODEL] = subject.answered
    if subject.address:
        found |= {server_attributes.SERVER_ADDRESS: subject.address, server_attributes.SERVER_PORT: subject.port}
    return found
