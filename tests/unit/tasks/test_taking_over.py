from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

import pytest

from orchestrator.domain.task.task import Task
from orchestrator.services.tasks.keeper import FIRST, PART, Keeper
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.storage import open_storage
from task_samples import keep, queued


class Adopting:
    """A scheduler, as far as it takes tasks up; each one takes it a millisecond of the clock."""

    owner = "me"

    def __init__(self) -> None:
        self.clock = 0.0
        self.adopted: list[str] = []

    def adopt(self, tasks: Iterable[Task]) -> None:
        new = [task.id for task in tasks]
        self.adopted += new
        self.clock += len(new) / 1000


async def test_a_long_queue_is_taken_up_in_parts_with_as_much_time_for_everybody_else() -> None:
    scheduler = Adopting()
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        scheduler.clock += seconds
        if len(scheduler.adopted) == count and len(rests) > 3:
            raise asyncio.CancelledError

    async with open_storage("memory://") as storage:
        count = FIRST + 2 * PART + 1
        there = await keep(storage.ledger, *(queued(f"t{number:05}", owner="gone") for number in range(count)))
        keeper = Keeper(storage.ledger, cast(Scheduler, scheduler), lambda: scheduler.clock, alone=True)
        await keeper.start()
        assert len(scheduler.adopted) == FIRST
        with pytest.raises(asyncio.CancelledError):
            await keeper.run(sleep)
    assert scheduler.adopted == [task.id for task in there]
    assert rests[:3] == pytest.approx([PART / 1000, PART / 1000, 0.001])
