"""The demand forecast after a restart: from the history, and without it where that cannot answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.history import DAY, HOUR, HistoryBatch, Rollup
from orchestrator.services.models.demand import DemandRules, DemandWatch
from orchestrator.services.models.usual import usual_demand
from orchestrator.storage import open_storage
from orchestrator.testing.model_server import ModelServer
from service import running_service

MODEL = "llama3:latest"


def hours(model: str, per_hour: int, days: float, now: float) -> list[Rollup]:
    """As many requests in each whole hour of the last days."""
    end = int(now) // HOUR * HOUR
    return [
        Rollup(end - ago * HOUR, "a", model, "ollama_chat", requests=per_hour, answered=per_hour)
        for ago in range(1, int(days * 24) + 1)
    ]


async def test_a_new_process_knows_what_is_usual_and_loads_ahead(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with open_storage(f"sqlite:///{tmp_path / 'data' / 'orchestrator.db'}") as storage:
        await storage.history.append(HistoryBatch(rollups=hours(MODEL, 120, 2, time.time())))
    async with ModelServer(["llama3", "phi"]) as server:
        config = {
            "nodes": [{"id": "a", "url": server.url}],
            "models": {"prewarm": True, "prewarm_rate": 1.0},
        }
        async with running_service(config, tmp_path) as running:
            watch = running.service.demand

            def loaded() -> bool:
                watch.look()
                watch.prewarm()
                return server.loaded == [MODEL]

            await running.until(loaded)  # nobody has asked for it
            assert watch.models[MODEL].forecast(time.time() + 3 * HOUR) == 2.0
            assert watch.models["phi:latest"].forecast(time.time()) is None


async def test_a_history_that_cannot_answer_stops_nothing(tmp_path: Path) -> None:
    class Away(MemoryHistory):
        asked = 0

        async def rollups(self, **wanted: object) -> tuple[Rollup, ...]:  # type: ignore[override]  # whatever is asked
            self.asked += 1
            raise StorageUnavailable("gone")

    async with (
        ModelServer(["llama3"]) as server,
        running_service({"nodes": [{"id": "a", "url": server.url}]}, tmp_path) as running,
    ):
        watch = DemandWatch(
            running.service.gateway,
            running.service.fleet_memory,
            running.service.warmups,
            DemandRules(),
            history := Away(),
        )
        await watch.remember()
        assert history.asked == 1
        await running.healthy(1)
        watch.look()
        assert watch.models[MODEL].forecast(time.time()) is None


async def test_days_without_anything_do_not_count_and_later_days_weigh_more() -> None:
    store, now = MemoryHistory(), 1_700_000_000.0
    end = int(now) // HOUR * HOUR
    old = [Rollup(end - 5 * DAY + HOUR, "a", "m", "e", requests=600)]
    new = [Rollup(end - DAY + HOUR, "a", "m", "e", requests=60), Rollup(end - DAY, "", "", "e", requests=9)]
    await store.append(HistoryBatch(rollups=[*old, *new]))

    usual = await usual_demand(store, now)

    assert usual.keys() == {"m"}
    of_day = (end // HOUR + 1) % 24
    assert usual["m"][of_day] == pytest.approx(10.0 + 0.3 * (1.0 - 10.0))
    assert usual["m"][(of_day + 1) % 24] == 0.0


async def test_only_so_many_sums_are_read() -> None:
    class Many(MemoryHistory):
        reads = 0

        async def rollups(self, **wanted: object) -> tuple[Rollup, ...]:  # type: ignore[override]  # whatever is asked
            self.reads += 1
            return (Rollup(1_699_995_600, "a", "m", "e", requests=1),) * 60_000

    store = Many()
    assert (await usual_demand(store, 1_700_000_000.0)).keys() == {"m"}
    assert store.reads == 2
