"""Hour by hour: each model on each server. A month of that is megabytes, and nearly all of it is what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.ports.history import HOUR, HistoryStore, Rollup
from orchestrator.services.history.sums import PAIRS
from orchestrator.services.history.window import Window

MOST_HOURS = 31 * 24
Total = tuple[int, int, int, int, int, float]


class Snapshots:
    """Remembers hours as they are told, with what they came to: hours that come to the same are not read again."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._told: dict[int, tuple[Total, msgspec.Raw | None]] = {}  # None: no server had any of its requests

    async def of(self, window: Window) -> list[msgspec.Raw]:
        """JSON of each hour that has requests, oldest first; at most `MOST_HOURS` are remembered."""
        hours = await self._store.rollups(since=window.since, until=window.until, step=HOUR, by=(), brief=True)
        totals = {one.start: _total(one) for one in hours}
        told = {start: self._told[start] for start in totals if start in self._told}
        stale = [start for start, total in totals.items() if start not in told or told[start][0] != total]
        if stale:
            since, until = max(window.since, stale[0]), min(window.until, stale[-1] + HOUR)
            found = await self._store.rollups(since=since, until=until, step=HOUR, by=PAIRS, brief=True)
            pairs = _by_hour(found)
            # What was added in between is in the pairs and not in the total: the next call reads that hour again.
            for start in stale:
                told[start] = totals[start], _snapshot(start, pairs.get(start, ()))
                await asyncio.sleep(0)
        self._told = dict(sorted((self._told | told).items())[-MOST_HOURS:])
        return [snapshot for _, (_, snapshot) in sorted(told.items()) if snapshot is not None]


def _total(one: Rollup) -> Total:
    tokens = one.prompt_tokens + one.completion_tokens
    # A database may add fractions up in another order the next time.
    return one.requests, one.answered, one.errors, one.cancelled, tokens, round(one.duration_sum, 2)


def _by_hour(rollups: Sequence[Rollup]) -> dict[int, list[Rollup]]:
    hours: dict[int, list[Rollup]] = {}
    for one in rollups:
        if one.node:
            hours.setdefault(one.start, []).append(one)
    return hours


def _snapshot(start: int, pairs: Sequence[Rollup]) -> msgspec.Raw | None:
    if not pairs:
        return None
    servers: dict[str, dict[str, Any]] = {}
    for one in pairs:
        seconds = one.duration_sum
        servers.setdefault(one.node, {})[one.model] = {
            "avgLatency": round(seconds / one.answered * 1000, 1) if one.answered else 0.0,
            "avgTokenThroughput": round(one.completion_tokens / seconds, 2) if seconds else 0.0,
            "requestCount": one.requests,
            "errorRate": round(one.errors / one.requests, 6) if one.requests else 0.0,
        }
    return msgspec.Raw(msgspec.json.encode({"timestamp": start * 1000, "servers": servers}))
