"""What a fleet is advised: fewer nodes only where a whole day was measured, and never because nobody asked."""

from __future__ import annotations

from typing import Any

from history_gateway import quiet_gateway

from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.ports.history import EMPTY, HOUR, HistoryBatch, Rollup
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history import Analytics, Recorder
from orchestrator.services.history.capacity import capacity


def fleet_of_ten() -> Gateway:
    gateway = quiet_gateway()
    node = gateway.fleet.add(NodeSpec(id="a", url="http://127.0.0.1:9", kind=NodeKind.OLLAMA, max_concurrency=10))
    node.healthy = True
    return gateway


def hour(start: int, busy: float) -> Rollup:
    """An hour in which answers took so many seconds together."""
    durations = (*EMPTY[:-1], 10)
    return Rollup(start, "a", "m", "ollama_chat", requests=10, answered=10, duration_sum=busy, durations=durations)


async def advised(rollups: dict[int, float]) -> dict[str, Any]:
    """`rollups`: hours ago -> busy seconds."""
    gateway, store = fleet_of_ten(), MemoryHistory()
    analytics = Analytics(store, Recorder(gateway, store, rows_per_second=0), gateway)
    now = int(gateway.clock.wall()) // HOUR * HOUR
    await store.append(HistoryBatch(rollups=[hour(now - ago * HOUR, busy) for ago, busy in rollups.items()]))
    return await capacity(analytics)


def recommendations(told: dict[str, Any]) -> set[str]:
    return {one["recommendation"] for one in told["forecast"].values()}


FALLING = {ago: 36_000 * 0.05 * (ago + 1) / 24 for ago in range(1, 24)}  # from 5 % of ten places down


async def test_a_day_of_little_work_is_a_reason_for_fewer_nodes() -> None:
    told = await advised(FALLING)
    assert told["idle"] is False
    assert recommendations(told) == {"scale-down"}


async def test_half_a_day_is_not() -> None:
    told = await advised({ago: busy for ago, busy in FALLING.items() if ago <= 12})
    assert told["idle"] is False
    assert recommendations(told) == {"stable"}


async def test_an_empty_morning_counts_where_there_was_work_before() -> None:
    half = {ago: busy for ago, busy in FALLING.items() if ago <= 12}
    told = await advised(half | {30: 1800.0})
    assert told["trends"]["saturationLevels"][0] == 0.0


async def test_nobody_asked() -> None:
    for past in ({}, {30: 36_000.0}, dict.fromkeys(range(30, 100), 36000.0)):
        told = await advised(past)
        assert told["idle"] is True
        assert recommendations(told) == {"stable"}
        assert told["recommendations"] == ["Idle: no request came in the last 24 hours."]
