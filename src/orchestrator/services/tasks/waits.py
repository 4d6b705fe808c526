"""Lets callers wait for the end of a task, whoever ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice

from orchestrator.domain.errors import RateLimited, StorageUnavailable
from orchestrator.domain.task.state import FINISHED
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Ledger

LOOK = 0.25  # seconds between looks for tasks that other processes end
AT_ONCE = 500  # tasks looked up in one query
MOST = 10_000  # callers that may wait at a time
_log = logging.getLogger("orchestrator.tasks")


class Waits:
    """One per process."""

    def __init__(self, ledger: Ledger, *, alone: bool) -> None:
        """`alone`: no other process can use this ledger."""
        self._ledger = ledger
        self._alone = alone
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self.count = 0  # callers that wait now

    def task(self, new: Task, old: Task | None) -> None:
        """A watcher of `Scheduler.on_end`."""
        if new.state in FINISHED and new.spec.id in self._waiting:
            self._wake(new.spec.id)

    async def finished(self, task_id: str, seconds: float, stopping: asyncio.Event) -> None:
        """Returns when the task has finished, the time is over or `stopping` is set; at once for a task that there is
        not. Raises RateLimited, StorageUnavailable."""
        if self.count >= MOST:
            raise RateLimited(f"{MOST:,} callers wait for tasks already.", retry_after=1.0)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(task_id, set()).add(woken)
        self.count += 1
        ending = asyncio.create_task(_set(stopping))
        try:
            task = (await self._ledger.get([task_id])).get(task_id)
            if task is not None and task.state not in FINISHED:
                await asyncio.wait({woken, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            self.count -= 1
            others = self._waiting.get(task_id, set())
            others.discard(woken)
            if not others:
                self._waiting.pop(task_id, None)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks for tasks that other processes ended, until cancelled."""
        while not self._alone:
            await sleep(LOOK)
            try:
                await self.look()
            except StorageUnavailable as error:
                _log.debug("tasks_not_read", extra={"error": error.message})

    async def look(self) -> None:
        """One look. Raises StorageUnavailable."""
        wanted = list(self._waiting)
        for start in range(0, len(wanted), AT_ONCE):
            found = await self._ledger.get(list(islice(wanted, start, start + AT_ONCE)))
            for task_id, task in found.items():
                if task.state in FINISHED:
                    self._wake(task_id)

    def _wake(self, task_id: str) -> None:
        for woken in self._waiting.get(task_id, ()):
            if not woken.done():
                woken.set_result(None)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
