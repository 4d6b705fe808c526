"""Begins finished tasks anew."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from orchestrator.domain.errors import Conflict
from orchestrator.domain.task.task import NOBODY, Task
from orchestrator.ports.ledger import Ledger
from orchestrator.services.tasks.dependencies import unfinished
from orchestrator.services.tasks.scheduler import Scheduler


class Replays:
    """What a task depends on counts as when it was submitted; what is no longer kept had finished."""

    def __init__(self, ledger: Ledger, scheduler: Scheduler) -> None:
        self._ledger = ledger
        self._scheduler = scheduler

    async def one(self, task: Task) -> Task:
        """Raises Conflict for a task that has completed or not finished, or that depends on one that has failed;
        StorageUnavailable."""
        return await self._scheduler.replay(task, await self._waits(task))

    async def many_of(self, ids: Collection[str]) -> list[Task]:
        """As `many`."""
        return await self.many((await self._ledger.get(ids)).values())

    async def many(self, tasks: Collection[Task]) -> list[Task]:
        """Those that could begin anew. What others depend on goes first: it is older. Raises StorageUnavailable."""
        begun = [self._begin(task, NOBODY) for task in tasks if not task.spec.dependencies]
        behind = sorted((task for task in tasks if task.spec.dependencies), key=lambda task: task.spec.seq)
        try:
            for task in behind:
                await asyncio.sleep(0)  # until those before it are seen to be unfinished
                try:
                    begun.append(self._begin(task, await self._waits(task)))
                except Conflict:
                    continue
        finally:
            found = await asyncio.gather(*begun, return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, Conflict):
                raise one
        return [one for one in found if isinstance(one, Task)]

    async def _waits(self, task: Task) -> frozenset[str]:
        if not task.spec.dependencies:
            return NOBODY
        return await unfinished(task.spec, self._ledger, self._scheduler, new=False)

    def _begin(self, task: Task, waits: frozenset[str]) -> asyncio.Task[Task]:
        return asyncio.get_running_loop().create_task(self._scheduler.replay(task, waits))
