"""The numbers of each model on each server, by windows (fleet contract 1.5, Metrics). Latencies in milliseconds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.ports.history import DAY, HOUR
from orchestrator.ports.record import RequestRecord
from orchestrator.services.gateway.in_flight import requests_per_second
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.extremes import Extremes
from orchestrator.services.history.sums import PAIRS, Sums, grouped, merged
from orchestrator.services.history.window import Window
from orchestrator.services.metrics import Metrics

WINDOWS = {"1m": 60, "5m": 300, "15m": 900, "1h": HOUR, "24h": DAY}
RECENT = 20
Pair = tuple[str, str]


async def everything(analytics: Analytics, metrics: Metrics) -> dict[str, Any]:
    """`global` counts since the start of the process; its rates are those of the last minutes."""
    gateway, tally = analytics.gateway, metrics.tally
    windows, pairs = await _windows(analytics)
    last, day = merged(pairs["5m"].values()), merged(pairs["24h"].values())
    recent = await asyncio.to_thread(_recent, tuple(gateway.history))
    keys = sorted({(node.id, model) for node in gateway.fleet.nodes.values() for model in node.pairs} | {*pairs["24h"]})
    servers: dict[str, Any] = {
        node.id: {
            "healthy": node.healthy,
            "inFlight": node.state.in_flight,
            "queued": sum(gateway.queue.waiting(model) for model in node.pairs),
            "models": {},
        }
        for node in gateway.fleet.nodes.values()
    }
    for node_id, model in keys:
        if node_id in servers:
            shown = _pair((node_id, model), windows, pairs, analytics.extremes)
            shown["streamingMetrics"] = _streams(pairs["24h"].get((node_id, model), Sums()), recent, (node_id, model))
            servers[node_id]["models"][model] = shown
    told: dict[str, Any] = {
        "totalRequests": tally.requests,
        "totalErrors": tally.errors,
        "totalTokens": tally.tokens,
        "requestsPerSecond": requests_per_second(gateway),
        "avgLatency": last.avg_latency,
        "errorRate": last.error_rate,
    }
    if day.streams:
        told["streaming"] = {
            "totalStreamingRequests": day.streams,
            "avgChunkCount": round(day.chunks / day.streams, 2),
            "avgTTFT": day.avg_ttft,
            "avgStreamingDuration": _mean([span for last in recent.values() for span in _spans(last)]),
            "streamingPercentage": round(day.streams / day.requests * 100, 2),
        }
    return {"timestamp": round(analytics.now() * 1000), "global": told, "servers": servers}


async def of_pair(analytics: Analytics, node_id: str, model: str) -> dict[str, Any] | None:
    """One model on one server; None when nothing is known of it."""
    gateway = analytics.gateway
    node = gateway.fleet.get(node_id)
    windows, pairs = await _windows(analytics, node_id, model)
    key = (node_id, model)
    if key not in pairs["24h"] and (node is None or model not in node.pairs):
        return None
    shown = _pair(key, windows, pairs, analytics.extremes)
    return {
        "realtime": {
            "inFlight": node.state.in_flight_by_model.get(model, 0) if node is not None else 0,
            "queued": gateway.queue.waiting(model),
        },
        "historical": shown.pop("windows"),
        "percentiles": shown.pop("percentiles"),
        "derived": shown,
    }


async def _windows(
    analytics: Analytics, node: str | None = None, model: str | None = None
) -> tuple[dict[str, Window], dict[str, dict[Pair, Sums]]]:
    store, now = await analytics.caught_up(), analytics.now()
    windows = {name: Window.last(seconds, now) for name, seconds in WINDOWS.items()}
    found = {}
    for name, window in windows.items():
        rollups = await store.rollups(since=window.since, until=window.until, step=0, node=node, model=model, by=PAIRS)
        found[name] = grouped((one for one in rollups if one.node), lambda one: (one.node, one.model))
    return windows, found


def _pair(
    key: Pair, windows: dict[str, Window], pairs: dict[str, dict[Pair, Sums]], extremes: Extremes
) -> dict[str, Any]:
    """Rates are those of the last hour. Windows begin at whole minutes. Extremes are null in a window with requests
    that were answered before the start of the process; sums of squares always are."""
    hour = pairs["1h"].get(key, Sums())
    shown = {}
    for name, window in windows.items():
        sums = pairs[name].get(key, Sums())
        shown[name] = _window(window, sums, extremes.between(key, window.since, sums.answered))
    return {
        "windows": shown,
        "percentiles": {"p50": hour.latency(0.5), "p95": hour.latency(0.95), "p99": hour.latency(0.99)},
        "successRate": round(1 - hour.error_rate, 6),
        "throughput": round(hour.requests / windows["1h"].seconds * 60, 4),
        "avgTokensPerRequest": hour.per_request(hour.completion_tokens),
    }


def _window(window: Window, one: Sums, extremes: tuple[float, float] | None) -> dict[str, Any]:
    shortest, longest = extremes or (None, None)
    return {
        "startTime": round(window.since * 1000),
        "endTime": round(window.until * 1000),
        "count": one.requests,
        "latencySum": round(one.duration_sum * 1000, 1),
        "latencySquaredSum": None,
        "minLatency": None if shortest is None else round(shortest * 1000, 1),
        "maxLatency": None if longest is None else round(longest * 1000, 1),
        "errors": one.errors,
        "tokensGenerated": one.completion_tokens,
        "tokensPrompt": one.prompt_tokens,
    }


def _recent(history: Sequence[RequestRecord]) -> dict[Pair, deque[RequestRecord]]:
    found: dict[Pair, deque[RequestRecord]] = {}
    for record in history:
        if record.stream and record.outcome == "ok":
            found.setdefault((record.node, record.model), deque(maxlen=RECENT)).append(record)
    return found


def _streams(day: Sums, recent: dict[Pair, deque[RequestRecord]], key: Pair) -> dict[str, Any]:
    """The last streams one by one, oldest first; means and percentiles of first tokens are of 24 hours."""
    last = recent.get(key, ())
    spans = _spans(last)
    counts = [one.chunks for one in last]
    quantiles = {f"p{round(q * 100)}": day.ttfts.quantile(q) for q in (0.5, 0.95, 0.99)}
    return {
        "recentTTFTs": [round(one.ttft * 1000, 1) for one in last if one.ttft is not None],
        "ttftPercentiles": {name: None if q is None else round(q * 1000, 1) for name, q in quantiles.items()},
        "avgTTFT": day.avg_ttft,
        "recentStreamingDurations": spans,
        "streamingDurationPercentiles": _ranks(spans),
        "avgStreamingDuration": _mean(spans),
        "recentChunkCounts": counts,
        "chunkCountPercentiles": _ranks(counts),
        "avgChunkCount": round(day.chunks / day.streams, 2) if day.streams else None,
    }


def _spans(streams: Iterable[RequestRecord]) -> list[float]:
    """Milliseconds from the first token to the end of each."""
    return [round((one.duration - (one.ttft or 0.0)) * 1000, 1) for one in streams]


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _ranks(values: Sequence[float]) -> dict[str, float | None]:
    """By nearest rank: of so few values, one that was measured."""
    ordered = sorted(values)
    return {
        f"p{percent}": ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None for percent in (50, 95, 99)
    }
