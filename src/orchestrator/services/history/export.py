"""The history as a file: CSV or JSON, made page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.domain.histogram import DURATION_BOUNDS
from orchestrator.ports.history import Rollup
from orchestrator.services.history.sums import summed

# What spreadsheets take for a formula (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def rollup(one: Rollup) -> dict[str, Any]:
    """A rollup as it is told; milliseconds. `durations` counts answered requests by `bounds`, the last is above."""
    total = summed([one])
    return {
        "timestamp": one.start * 1000,
        "serverId": one.node or None,
        "model": one.model,
        "endpoint": one.endpoint,
        "requests": one.requests,
        "answered": one.answered,
        "errors": one.errors,
        "cancelled": one.cancelled,
        "streams": one.streams,
        "chunks": one.chunks,
        "tokensPrompt": one.prompt_tokens,
        "tokensGenerated": one.completion_tokens,
        "avgLatency": total.avg_latency,
        "p50Latency": total.latency(0.5),
        "p95Latency": total.latency(0.95),
        "p99Latency": total.latency(0.99),
        "avgTTFT": total.avg_ttft,
        "queueWaitTime": round(one.queue_wait_sum * 1000, 1),
        "errorRate": total.error_rate,
        "failures": dict(one.failures),
        "durations": list(one.durations),
    }


BOUNDS_MS = [round(bound * 1000, 1) for bound in DURATION_BOUNDS]


async def as_json(name: str, head: Mapping[str, Any], pages: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """`{...head, name: [...]}`."""
    yield msgspec.json.encode(head)[:-1] + b"," + msgspec.json.encode(name) + b":["
    comma = b""
    async for page in pages:
        if page:
            yield comma + msgspec.json.encode(list(page))[1:-1]
            comma = b","
    yield b"]}\n"


async def as_csv(pages: AsyncIterator[Sequence[Mapping[str, Any]]]) -> AsyncIterator[bytes]:
    """A head line with the fields' names, then a line for each. Nothing where there is nothing."""
    names: list[str] | None = None
    async for page in pages:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        for row in page:
            if names is None:
                names = list(row)
                writer.writerow(names)
            writer.writerow([_cell(row[name]) for name in names])
        yield text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        value = msgspec.json.encode(value).decode()
    elif value is None:
        return ""
    elif isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
