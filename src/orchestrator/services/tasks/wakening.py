"""Looks sooner at what other replicas did, when they say that there is something: without this the same looks come by
themselves, later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task.state import FINISHED, QUEUED
from orchestrator.domain.task.task import Task
from orchestrator.ports.wakeups import Wakeup, Wakeups
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.keeper import Keeper
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.waits import Waits

REST = 0.02  # seconds between two looks, whatever is said meanwhile
_log = logging.getLogger("orchestrator.tasks")


class Wakening:
    """One per process."""

    def __init__(
        self, wakeups: Wakeups, scheduler: Scheduler, keeper: Keeper, waits: Waits, bulletin: Bulletin
    ) -> None:
        self._wakeups = wakeups
        self._scheduler = scheduler
        self._looks: dict[Wakeup, Callable[[], Awaitable[None]]] = {
            Wakeup.FOREIGN: keeper.catch_up,
            Wakeup.QUEUED: keeper.help,
            Wakeup.EVENTS: bulletin.look,
            Wakeup.FINISHED: self._look_for_ends,
        }
        self._keeper = keeper
        self._waits = waits
        self._heard: set[Wakeup] = set()
        self._some = asyncio.Event()
        scheduler.on_change.append(self.task)
        bulletin.on_written.append(lambda: wakeups.tell(Wakeup.EVENTS))

    def task(self, new: Task, old: Task | None) -> None:
        """A watcher of `Scheduler.on_change`, and of what is changed for other replicas."""
        if new.owner != self._scheduler.owner:
            self._wakeups.tell(Wakeup.FOREIGN)
        if new.state in FINISHED:
            self._wakeups.tell(Wakeup.FINISHED)
        elif new.state is QUEUED and not self._scheduler.seats.has_room(new.spec.of):
            self._wakeups.tell(Wakeup.QUEUED)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._wakeups.run(self._hear))
            ways.create_task(self._look())

    def _hear(self, kind: Wakeup) -> None:
        self._heard.add(kind)
        self._some.set()

    async def _look(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            kinds, self._heard = self._heard, set()
            for kind in sorted(kinds):
                try:
                    await self._looks[kind]()
                except StorageUnavailable as error:
                    _log.debug("tasks_not_read", extra={"error": error.message})
            await asyncio.sleep(REST)

    async def _look_for_ends(self) -> None:
        await self._waits.look()
        await self._keeper.parents()
