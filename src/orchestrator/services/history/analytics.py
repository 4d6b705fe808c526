"""What the history says of the fleet (fleet contract 1.5). Times are milliseconds since the epoch, latencies ms.

Every figure is computed from what was measured within the window that the answer names; none is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.regression import fit
from orchestrator.ports.history import EVERY, HOUR, HistoryStore, RequestFilter, Rollup
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history.extremes import Extremes
from orchestrator.services.history.recorder import Recorder
from orchestrator.services.history.snapshots import Snapshots
from orchestrator.services.history.sums import PAIRS, Sums, grouped, summed
from orchestrator.services.history.window import Window

RECENT_ERRORS = 20
METRICS = ("latency", "errors", "throughput")


class Analytics:
    """Figures from rollups. Reads raise `StorageUnavailable`."""

    def __init__(self, store: HistoryStore, recorder: Recorder, gateway: Gateway) -> None:
        self.store = store
        self.gateway = gateway
        self._snapshots = Snapshots(store)
        self._recorder = recorder

    @property
    def fleet(self) -> Fleet:
        return self.gateway.fleet

    @property
    def extremes(self) -> Extremes:
        return self._recorder.extremes

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.gateway.clock.wall()

    async def rollups(
        self,
        window: Window,
        step: int = 0,
        node: str | None = None,
        model: str | None = None,
        *,
        by: Sequence[str] = EVERY,
        brief: bool = False,
    ) -> tuple[Rollup, ...]:
        """Sums with what has ended just now among them; see `HistoryStore.rollups`."""
        store = await self.caught_up()
        return await store.rollups(
            since=window.since, until=window.until, step=step, node=node, model=model, by=by, brief=brief
        )

    async def caught_up(self) -> HistoryStore:
        """The store, with what has ended just now in it."""
        await self._recorder.catch_up()
        return self.store

    async def summary(self, window: Window) -> dict[str, Any]:
        rollups = await self.rollups(window, by=PAIRS)
        total = summed(rollups)
        return {
            "totalRequests": total.requests,
            "totalErrors": total.errors,
            "totalCancelled": total.cancelled,
            "totalTokens": total.prompt_tokens + total.completion_tokens,
            "avgLatency": total.avg_latency,
            "avgTTFT": total.avg_ttft,
            "p95Latency": total.latency(0.95),
            "uniqueModels": len({one.model for one in rollups if one.model}),
            "uniqueServers": len({one.node for one in rollups if one.node}),
            "timeRange": window.name,
            "requestsPerSecond": round(total.requests / window.seconds, 6),
            "errorRate": total.error_rate,
        }

    async def top_models(self, window: Window, limit: int) -> list[dict[str, Any]]:
        rollups = await self.rollups(window, by=("model",), brief=True)
        total = sum(one.requests for one in rollups)
        models = grouped((one for one in rollups if one.model), lambda one: one.model)
        first = sorted(models.items(), key=lambda item: (-item[1].requests, item[0]))[:limit]
        return [
            {
                "model": model,
                "requests": one.requests,
                "percentage": round(one.requests / total * 100, 2),
                "avgLatency": one.avg_latency,
                "errorRate": one.error_rate,
                "tokensGenerated": one.completion_tokens,
            }
            for model, one in first
        ]

    async def server_performance(self, window: Window) -> list[dict[str, Any]]:
        """`score` is 100 x (1 - error rate) x (1 + fastest mean latency / own mean latency) / 2; null unmeasured.
        `utilization` is requests in flight by places, now."""
        rollups = await self.rollups(window, by=("node",))
        found = grouped((one for one in rollups if one.node), lambda one: one.node)
        for node_id in self.fleet.nodes:
            found.setdefault(node_id, Sums())
        fastest = min((one.avg_latency for one in found.values() if one.answered), default=0.0)
        return [
            self._server(node_id, one, window, fastest)
            for node_id, one in sorted(found.items(), key=lambda item: (-item[1].requests, item[0]))
        ]

    def _server(self, node_id: str, one: Sums, window: Window, fastest: float) -> dict[str, Any]:
        node = self.fleet.get(node_id)
        speed = fastest / one.avg_latency if one.avg_latency else 1.0 if one.answered else 0.0
        return {
            "id": node_id,
            "requests": one.requests,
            "avgLatency": one.avg_latency,
            "p95Latency": one.latency(0.95),
            "p99Latency": one.latency(0.99),
            "errorRate": one.error_rate,
            "throughput": round(one.requests / window.seconds * 60, 4),
            "utilization": round(node.state.in_flight / node.spec.max_concurrency, 4) if node is not None else None,
            "score": round(50 * (1 - one.error_rate) * (1 + speed), 2) if one.requests else None,
        }

    async def errors(self, window: Window, recent: bool) -> dict[str, Any]:
        rollups = await self.rollups(window, by=PAIRS)
        steps = await self.rollups(window, window.step, by=(), brief=True)
        total = summed(rollups)
        by_node = grouped(rollups, lambda one: one.node)
        by_model = grouped(rollups, lambda one: one.model)
        answer: dict[str, Any] = {
            "totalErrors": total.errors,
            "byType": dict(total.failures.most_common()),
            "byServer": {node: one.errors for node, one in by_node.items() if one.errors and node},
            "byModel": {model: one.errors for model, one in by_model.items() if one.errors and model},
            "withoutServer": by_node[""].errors if "" in by_node else 0,
            "trend": fit(_curve(steps, window, "errors")).direction,
        }
        if recent:
            wanted = RequestFilter(since=window.since, until=window.until, success=False)
            rows = await self.store.requests(wanted, RECENT_ERRORS)
            answer["recentErrors"] = [
                {
                    "id": row.id,
                    "timestamp": round(row.at * 1000),
                    "serverId": row.node or None,
                    "model": row.model,
                    "errorType": row.error,
                    "message": next((one.error for one in reversed(row.attempts) if one.error), row.error),
                }
                for row in rows
            ]
        return answer

    async def trend(self, metric: str, window: Window, node: str | None, model: str | None) -> dict[str, Any]:
        """A straight line through the metric over time; the slope is per hour. Raises InvalidRequest."""
        if metric not in METRICS:
            raise InvalidRequest(f"metric must be one of {', '.join(METRICS)}.")
        steps = await self.rollups(window, window.step, node, model, by=(), brief=True)
        points = _curve(steps, window, metric)
        line = fit([((at - window.since) / HOUR, value) for at, value in points])
        return {
            "analysis": {
                "direction": line.direction,
                "slope": round(line.slope, 6),
                "confidence": line.confidence,
                "points": len(points),
            },
            "unit": {"latency": "ms", "errors": "share of requests", "throughput": "requests per minute"}[metric],
            "stepSeconds": window.step,
            "dataPoints": [{"timestamp": round(at * 1000), "value": round(value, 6)} for at, value in points],
        }

    async def snapshots(self, window: Window) -> list[msgspec.Raw]:
        """Hour by hour, as JSON: each model on each node."""
        await self.caught_up()
        return await self._snapshots.of(window)


def _curve(rollups: tuple[Rollup, ...], window: Window, metric: str) -> list[tuple[float, float]]:
    """The metric at each step, from the first that has requests. Steps of which a part is before the window or yet
    to come are left out: half a step has half the requests."""
    steps = grouped(rollups, lambda one: one.start)
    whole = {start: one for start, one in steps.items() if window.since <= start <= window.until - window.step}
    if metric == "latency":
        return [(float(start), one.avg_latency) for start, one in sorted(whole.items()) if one.answered]
    if not whole:
        return []
    points = []
    start = min(whole)
    while start + window.step <= window.until:
        one = whole.get(start, Sums())
        value = one.error_rate if metric == "errors" else one.requests / window.step * 60
        if metric == "throughput" or one.requests:
            points.append((float(start), value))
        start += window.step
    return points
