"""The clean-up goes on in steps until nothing is left to delete."""

from __future__ import annotations

import pytest
from history_gateway import AT, record

from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.history import HistoryBatch, RequestFilter, Retention
from orchestrator.services.history.cleanup import PAUSE, STEP, Cleanup

KEEP = Retention(3600, 100, 3600, 100, 86_400, 86_400)


async def test_it_deletes_in_steps_with_pauses() -> None:
    store = MemoryHistory()
    await store.append(HistoryBatch([record(n) for n in range(3 * STEP)]))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    deleted = await Cleanup(store, KEEP, lambda: AT + 10).sweep(sleep)
    assert deleted == 3 * STEP - 100
    assert len(pauses) >= 3
    assert set(pauses) == {PAUSE}
    assert len(await store.requests(RequestFilter(), 10_000)) == 100


async def test_a_database_that_is_away_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryHistory):
        async def prune(self, retention: Retention, now: float, rows: int) -> int:
            raise StorageUnavailable("gone")

    turns = 0

    async def sleep(seconds: float) -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            raise EOFError  # ends the loop as a cancellation would

    with pytest.raises(EOFError):
        await Cleanup(Away(), KEEP, lambda: AT).run(sleep)
    assert [one.message for one in caplog.records] == ["history_not_cleaned"] * 2
