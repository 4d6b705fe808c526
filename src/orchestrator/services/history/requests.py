"""Finished requests one by one, and summed by node and by time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.history import MINUTE, HistoryStore, RequestFilter
from orchestrator.ports.record import RequestRecord
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.sums import Sums, grouped, summed
from orchestrator.services.history.window import Window

MOST_POINTS = 10_000
PAGE = 1_000
MOMENT = 2e-6  # seconds; databases keep times to the microsecond


def shown(row: RequestRecord) -> dict[str, Any]:
    """One request as the contract writes it; milliseconds."""
    ms = row.duration * 1000
    return {
        "id": row.id,
        "timestamp": round(row.at * 1000),
        "serverId": row.node or None,
        "model": row.model,
        "endpoint": row.endpoint,
        "principal": row.principal,
        "streaming": row.stream,
        "status": row.status,
        "outcome": row.outcome,
        "success": row.outcome == "ok",
        "duration": round(ms, 1),
        "queueWaitTime": round(row.queue_wait * 1000, 1),
        "ttft": None if row.ttft is None else round(row.ttft * 1000, 1),
        "streamingDuration": round(ms - row.ttft * 1000, 1) if row.stream and row.ttft is not None else None,
        "tokensPrompt": row.prompt_tokens,
        "tokensGenerated": row.completion_tokens,
        "estimated": row.estimated,
        "errorType": row.error or None,
        "errorMessage": next((one.error for one in reversed(row.attempts) if one.error), None),
        "attempts": len(row.attempts),
        "isRetry": len(row.attempts) > 1,
        "serversTried": [one.node_id for one in row.attempts],
    }


async def stats(analytics: Analytics, node: str, window: Window) -> dict[str, Any]:
    rollups = await analytics.rollups(window, node=node, by=("model", "endpoint"))
    total = summed(rollups)
    return {
        "totalRequests": total.requests,
        "successfulRequests": total.answered,
        "failedRequests": total.errors,
        "cancelledRequests": total.cancelled,
        "avgDuration": total.avg_latency,
        "p50Latency": total.latency(0.5),
        "p95Latency": total.latency(0.95),
        "p99Latency": total.latency(0.99),
        "avgTTFT": total.avg_ttft,
        "avgTokensGenerated": total.per_request(total.completion_tokens),
        "avgTokensPrompt": total.per_request(total.prompt_tokens),
        "requestsPerMinute": round(total.requests / window.seconds * 60, 4),
        "errorRate": total.error_rate,
        "byModel": {name: _short(one) for name, one in grouped(rollups, lambda one: one.model).items()},
        "byEndpoint": {name: _short(one) for name, one in grouped(rollups, lambda one: one.endpoint).items()},
    }


def _short(one: Sums) -> dict[str, Any]:
    return {"count": one.requests, "avgDuration": one.avg_latency, "errorRate": one.error_rate}


async def timeline(analytics: Analytics, node: str | None, window: Window, minutes: int) -> list[dict[str, Any]]:
    """Every interval of the window, those without requests too. Raises InvalidRequest where they are too many."""
    step = minutes * MINUTE
    start = int(window.since // step * step)
    if (window.until - start) / step > MOST_POINTS:
        raise InvalidRequest(f"More than {MOST_POINTS} points: choose a longer interval or fewer hours.")
    rollups = await analytics.rollups(Window(start, window.until), step, node=node, by=(), brief=True)
    steps = grouped(rollups, lambda one: one.start // step * step)
    return [
        {
            "timestamp": at * 1000,
            "count": one.requests,
            "successCount": one.answered,
            "errorCount": one.errors,
            "cancelledCount": one.cancelled,
            "avgDuration": one.avg_latency,
        }
        for at in range(start, int(window.until) + 1, step)
        for one in (steps.get(at, Sums()),)
    ]


async def pages(store: HistoryStore, wanted: RequestFilter, most: int) -> AsyncIterator[Sequence[RequestRecord]]:
    """All that match, newest first and at most `most`, page by page. What ends meanwhile is not among them."""
    told: list[float] = []  # the times of the last rows told, which the next page would begin with
    while most > 0:
        page = await store.requests(wanted, min(PAGE, most), len(told))
        if not page:
            return
        yield page
        most -= len(page)
        until = page[-1].at + MOMENT
        if wanted.until is None or until < wanted.until:
            wanted = replace(wanted, until=until)
        told = [at for at in (*told, *(row.at for row in page)) if wanted.until is None or at < wanted.until]
