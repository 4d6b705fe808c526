"""What becomes of the tasks that nodes have is looked for among these, however many others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

import pytest

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.domain.placement import Placement
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.keeper import Keeper
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.writer import Writer
from task_samples import NOW, keep, move, queued

ALL_READ = "all tasks were gone through"
FOREVER = 1e12  # seconds: the scheduler's clock is the real one, by which an attempt from NOW is long over


class Unread(dict[str, Task]):
    """Tasks that are only looked up: with a million of them, reading all stops the service for 50 ms."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError(ALL_READ)

    def keys(self) -> NoReturn:
        raise AssertionError(ALL_READ)

    def values(self) -> NoReturn:
        raise AssertionError(ALL_READ)

    def items(self) -> NoReturn:
        raise AssertionError(ALL_READ)


class Nowhere:
    """`Carrier` to nodes that never answer."""

    def deliver(self, worker: Worker, task: Task) -> None: ...

    def withdraw(self, worker: Worker, task: Task) -> None: ...


def half() -> float:
    return 0.5


class Kept:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.writer = Writer(self.ledger)
        seats = Seats(Placement("round_robin", rand=half))
        self.scheduler = Scheduler(Clock(), self.writer, seats, Nowhere(), owner="me", rand=half)
        self.scheduler.tasks = Unread()
        self.keeper = Keeper(self.ledger, self.scheduler, lambda: NOW + 60.0, alone=False)

    def state(self, task_id: str) -> TaskState | None:
        task = self.scheduler.tasks.get(task_id)
        return task.state if task is not None else None

    async def running(self, task_id: str, node: str) -> Task:
        """One that another process handed out, and that this one has taken over."""
        [task] = await keep(self.ledger, queued(task_id, timeout=FOREVER))
        task = await move(self.ledger, task, lifecycle.assign(task, node, NOW))
        task = await move(self.ledger, task, lifecycle.start(task, NOW))
        self.scheduler.adopt([task])
        assert self.state(task_id) is TaskState.RUNNING
        return task


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    kept = Kept()
    writing = asyncio.create_task(kept.writer.run())
    yield kept
    kept.scheduler.stop()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.parametrize("known", [True, False])
async def test_an_attempt_that_ended_by_the_word_of_another_replica_is_over_here(kept: Kept, known: bool) -> None:
    if known:
        kept.scheduler.node_changed(Worker("n"))
    task, other = await kept.running("a", "n"), await kept.running("b", "n")
    await move(kept.ledger, task, lifecycle.succeed(task, NOW + 1, b"1"))
    await kept.keeper.catch_up()
    assert (kept.state("a"), kept.state("b")) == (None, TaskState.RUNNING)
    assert kept.scheduler.given() == [other]
    assert kept.scheduler.seats.all_given() == ["b"]


@pytest.mark.parametrize("known", [True, False])
async def test_what_a_lost_node_had_is_queued_again(kept: Kept, known: bool) -> None:
    if known:
        kept.scheduler.node_changed(Worker("n"))
    await kept.running("a", "n")
    await kept.running("b", "elsewhere")
    kept.scheduler.node_lost("n", removed=True)
    await asyncio.wait_for(kept.writer.drained(), 5)
    assert (kept.state("a"), kept.state("b")) == (TaskState.QUEUED, TaskState.RUNNING)
    assert kept.scheduler.seats.all_given() == ["b"]
