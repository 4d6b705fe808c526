"""Sums page by page, hours that are remembered, and how fine a curve is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history_gateway import quiet_gateway

from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.ports.history import DAY, HOUR, MINUTE, HistoryBatch, Rollup
from orchestrator.services.history import Analytics, Recorder
from orchestrator.services.history.pages import sums_page
from orchestrator.services.history.window import Window

T0 = 1_763_683_200  # a whole hour
WINDOW = Window(float(T0), float(T0 + 5 * HOUR + 90))


def one(start: int, node: str = "a", model: str = "m", requests: int = 2) -> Rollup:
    return Rollup(start, node, model, "chat", requests, requests, duration_sum=float(requests), completion_tokens=10)


async def analytics_of(*rollups: Rollup) -> tuple[Analytics, MemoryHistory]:
    gateway, store = quiet_gateway(), MemoryHistory()
    await store.append(HistoryBatch(rollups=rollups))
    return Analytics(store, Recorder(gateway, store, rows_per_second=0), gateway), store


@pytest.mark.parametrize("step", [MINUTE, HOUR, DAY])
async def test_pages_together_are_the_whole(step: int) -> None:
    made = [one(T0 + hour * HOUR + 60, node) for hour in range(5) for node in "abc"[: 1 + hour % 3]]
    analytics, _ = await analytics_of(*made)
    whole = await analytics.rollups(WINDOW, step)
    for limit in (1, 2, 4, 100):
        found: list[Rollup] = []
        for offset in range(0, len(whole) + limit, limit):
            total, page = await sums_page(analytics, WINDOW, step, None, None, limit, offset)
            assert total == len(whole)
            found += page
        assert tuple(found) == whole


async def snapshots(analytics: Analytics, window: Window = WINDOW) -> list[dict[str, Any]]:
    return [msgspec.json.decode(snapshot) for snapshot in await analytics.snapshots(window)]


async def test_snapshots_know_what_came_later() -> None:
    analytics, store = await analytics_of(one(T0), one(T0 + HOUR, "b"), one(T0 + 2 * HOUR, ""))
    first = await snapshots(analytics)
    assert [snapshot["timestamp"] for snapshot in first] == [T0 * 1000, (T0 + HOUR) * 1000]
    assert first[0]["servers"] == {
        "a": {"m": {"avgLatency": 1000.0, "avgTokenThroughput": 5.0, "requestCount": 2, "errorRate": 0.0}}
    }
    assert await snapshots(analytics) == first
    # To an hour that is long over, to one that no server had, and to one without any.
    await store.append(HistoryBatch(rollups=[one(T0 + 60, "c"), one(T0 + 2 * HOUR, "a"), one(T0 + 4 * HOUR)]))
    later = await snapshots(analytics)
    assert [sorted(snapshot["servers"]) for snapshot in later] == [["a", "c"], ["b"], ["a"], ["a"]]
    shorter = await snapshots(analytics, Window(float(T0 + HOUR), float(T0 + 2 * HOUR)))
    assert [sorted(snapshot["servers"]) for snapshot in shorter] == [["b"]]


def test_a_curve_of_a_day_has_a_point_an_hour() -> None:
    spans = {2 * HOUR: MINUTE, 6 * HOUR: 5 * MINUTE, DAY: HOUR, 7 * DAY: 2 * HOUR, 30 * DAY: 6 * HOUR}
    assert {span: Window(0.0, float(span)).step for span in spans} == spans


async def test_a_curve_has_whole_steps_only() -> None:
    analytics, _ = await analytics_of(*(one(T0 + minute * 60) for minute in range(0, 12 * 60, 10)))
    window = Window(float(T0 + 30 * 60), float(T0 + 11 * HOUR + 600))
    told = await analytics.trend("throughput", window, None, None)
    assert [point["timestamp"] for point in told["dataPoints"]] == [(T0 + hour * HOUR) * 1000 for hour in range(1, 11)]
    assert {point["value"] for point in told["dataPoints"]} == {0.2}
