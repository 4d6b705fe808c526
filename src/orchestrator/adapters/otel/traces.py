"""One trace per sampled request, made after its end: a span of the request, and below it one for each attempt.

On the event loop a request costs the decision whether it is sampled. A thread makes the spans, with the times of then;
the SDK's own thread sends them in batches by OTLP over HTTP.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Thread
from time import monotonic, time

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orchestrator.adapters.otel.attributes import Server, of_attempt, of_request, operation
from orchestrator.ports.record import Attempt, RequestRecord

__all__ = ["Server", "Traces"]

MOST_WAITING = 8192  # requests; beyond, traces are lost
_SEND_TIMEOUT = 5.0  # seconds
_PATIENCE = 5.0  # seconds that a shutdown waits
_PATH = "/v1/traces"
_log = logging.getLogger("orchestrator.traces")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})\Z")


class Traces:
    """`ports.telemetry.RequestSink` that sends traces."""

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str],
        service_name: str,
        version: str,
        sample_ratio: float,
        rand: Callable[[], float],
        server_of: Callable[[str], Server | None],
    ) -> None:
        """`endpoint` is the collector's base URL; `server_of` tells where a node is, None for one that is gone."""
        base = endpoint.rstrip("/")
        url = base if base.endswith(_PATH) else base + _PATH
        exporter = OTLPSpanExporter(endpoint=url, headers=dict(headers), timeout=_SEND_TIMEOUT)
        resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: version})
        self._processor = BatchSpanProcessor(exporter)
        self._provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("orchestrator", version)
        self._propagator = TraceContextTextMapPropagator()
        self._ratio = sample_ratio
        self._rand = rand
        self._server_of = server_of
        self._records: SimpleQueue[RequestRecord | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def add(self, record: RequestRecord) -> None:
        """What the client's own trace says about sampling holds; without one the ratio decides."""
        parent = _TRACEPARENT.match(record.trace) if record.trace else None
        sampled = bool(int(parent[1], 16) & 1) if parent is not None else self._rand() < self._ratio
        if sampled and self._records.qsize() < MOST_WAITING:
            self._records.put(record)

    def close(self) -> None:
        """Sends what waits, for a bounded time."""
        self._records.put(None)
        self._thread.join(_PATIENCE)
        closing = Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()  # the SDK would wait half a minute for a collector that is away
        closing.join(_PATIENCE)

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            try:
                self._trace(record)
            except Exception:  # noqa: BLE001 - the thread's edge
                _log.exception("bug", extra={"request": record.id})

    def _trace(self, record: RequestRecord) -> None:
        parent = self._propagator.extract({"traceparent": record.trace}, Context()) if record.trace else Context()
        ended = record.at + record.duration
        span = self._tracer.start_span(
            f"{operation(record)} {record.model[:100]}",
            parent,
            SpanKind.SERVER,
            of_request(record, self._server_of(record.node)),
            start_time=_nanoseconds(record.at),
        )
        epoch = time() - monotonic()  # attempts are timed in monotonic seconds
        for attempt in record.attempts:
            start = min(max(attempt.started + epoch, record.at), ended)
            end = min(max(attempt.ended + epoch, start), ended) if attempt.ended else ended
            self._attempt(record, attempt, set_span_in_context(span, parent), start, end)
        _end(span, record.error, record.outcome == "error", ended)

    def _attempt(self, record: RequestRecord, attempt: Attempt, parent: Context, start: float, end: float) -> None:
        span = self._tracer.start_span(
            f"attempt {attempt.node_id}",
            parent,
            SpanKind.CLIENT,
            of_attempt(record, attempt, self._server_of(attempt.node_id)),
            start_time=_nanoseconds(start),
        )
        _end(span, attempt.kind, bool(attempt.kind), end)


def _end(span: Span, error: str, failed: bool, at: float) -> None:
    if failed:
        span.set_status(Status(StatusCode.ERROR, error))
    span.end(_nanoseconds(at))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
