"""The request log: one JSON line for every finished request. Never what was asked or answered.

On the event loop a request costs an append. A batch is handed to the log's thread when it is full or 100 ms old;
encoding and writing happen there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import time

import msgspec

from orchestrator.adapters.logging.logs import Logs, timestamp
from orchestrator.ports.record import RequestRecord

BATCH = 512  # requests
DELAY = 0.1  # seconds
_LONGEST_NAME = 200  # characters; a model that does not exist has the name that a client made up


class TriedNode(msgspec.Struct, omit_defaults=True):
    """One attempt, where there was more than one or it failed. `ms` is absent where its end was not noted."""

    node: str
    dialect: str
    status: int = 0
    kind: str = ""
    ms: float | None = None


class RequestLine(msgspec.Struct, tag_field="event", tag="request", omit_defaults=True):
    """The fields of a line. Durations in seconds; what is absent is 0, empty or false."""

    timestamp: str
    level: str
    logger: str
    id: str
    endpoint: str
    principal: str
    model: str
    node: str
    status: int
    outcome: str
    duration: float
    stream: bool = False
    error: str = ""
    queue_wait: float = 0.0
    ttft: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    continuations: int = 0
    trace_id: str = ""
    attempts: list[TriedNode] | None = None


class RequestLog:
    """`ports.telemetry.RequestSink` that writes to the logs' outputs. Asks `enabled` once for each batch."""

    def __init__(self, logs: Logs, enabled: Callable[[], bool]) -> None:
        self._enabled = enabled
        self._logs = logs
        self._pending: list[RequestRecord] = []
        self._timer: asyncio.TimerHandle | None = None
        self._encode = msgspec.json.Encoder().encode_lines

    def add(self, record: RequestRecord) -> None:
        pending = self._pending
        pending.append(record)
        count = len(pending)
        if count == 1:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self.flush)
        elif count >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hands on what is pending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._pending = self._pending, []
        if batch and self._enabled():
            self._logs.writer.put(lambda: self._lines(batch), self._logs.request_outputs, len(batch))

    def close(self) -> None:
        self.flush()

    def _lines(self, batch: Sequence[RequestRecord]) -> bytes:
        """All lines of a batch bear the moment at which it is written."""
        now = timestamp(time())
        clear = self._logs.redactor.text
        return self._encode([_line(record, now, clear) for record in batch])


def _line(record: RequestRecord, now: str, clear: Callable[[str], str]) -> RequestLine:
    attempts = record.attempts
    ttft = record.ttft
    told = len(attempts) > 1 or any(one.kind for one in attempts)
    return RequestLine(
        now,
        "info",
        "orchestrator.request",
        record.id,
        record.endpoint,
        record.principal,
        record.model if record.node else clear(record.model[:_LONGEST_NAME]),
        record.node,
        record.status,
        record.outcome,
        _micro(record.duration),
        record.stream,
        record.error,
        _micro(record.queue_wait),
        _micro(ttft) if ttft is not None else None,
        record.prompt_tokens,
        record.completion_tokens,
        record.estimated,
        record.continuations,
        record.trace[3:35],
        [
            TriedNode(
                one.node_id, one.dialect, one.status, one.kind, _milli(one.ended - one.started) if one.ended else None
            )
            for one in attempts
        ]
        if told
        else None,
    )


def _micro(seconds: float) -> float:
    """To the microsecond; three times as fast as `round`."""
    return int(seconds * 1e6 + 0.5) / 1e6


def _milli(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1e3
