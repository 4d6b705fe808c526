"""Keeps a process's tasks in step with the ledger: takes over those of replicas that are gone, finds out what became of
writes whose answer was lost, and hears of tasks that finished elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from heapq import nsmallest

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Ledger
from orchestrator.services.tasks.scheduler import Scheduler

BEAT = 1.0  # seconds between two looks
LEASE = 6.0  # seconds after which the tasks of a replica that is gone are taken over
FIRST = 2_000  # tasks taken up before anything is served
PART = 500  # and with each further step, after a rest as long as the step before: others have work to do, too
AT_ONCE = 500  # tasks looked up in one query
SETTLED = 2.0  # seconds after an assignment before the ledger is asked whether it has ended elsewhere
MOST_CHECKED = 5_000
STEAL = 50  # tasks taken from a replica that is behind
_log = logging.getLogger("orchestrator.tasks")


class Keeper:
    """One per process."""

    def __init__(
        self, ledger: Ledger, scheduler: Scheduler, wall: Callable[[], float], *, alone: bool, lease: float = LEASE
    ) -> None:
        """`wall` tells the time in seconds since the epoch. `alone`: no other process can use this ledger, so whatever
        is there is this one's."""
        self._wall = wall
        self._ledger = ledger
        self._scheduler = scheduler
        self._alone = alone
        self._lease = lease
        self._left = True  # of what earlier processes left there may be more
        self._taken = 0
        self._stolen: tuple[str, ...] = ()  # what was taken last from other replicas

    async def release(self) -> None:
        """Says that this process is gone, so that others take its tasks over at once. Raises StorageUnavailable."""
        await self._ledger.take_over(self._scheduler.owner, seconds=0.0, limit=0)

    async def start(self, dead: Iterable[str] = ()) -> None:
        """Takes up the oldest of what earlier processes left; `run` goes on with the rest, while these are handed out
        already. `dead` are owners that are known to be gone, whatever their leases say. Raises StorageUnavailable."""
        for owner in dead:
            await self._ledger.take_over(owner, seconds=0.0, limit=0)
        self._left = await self._take(FIRST)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled."""
        while self._left:
            begun = self._wall()
            try:
                self._left = await self._take(PART)
            except StorageUnavailable as error:
                _log.warning("tasks_not_read", extra={"error": error.message})
                await sleep(BEAT)
            else:
                await sleep(min(max(self._wall() - begun, 0.0), BEAT))
        if self._taken:
            _log.info("tasks_taken_over", extra={"tasks": self._taken})
        while True:
            await sleep(BEAT)
            try:
                await self.look()
            except StorageUnavailable as error:
                _log.warning("tasks_not_read", extra={"error": error.message})

    async def _take(self, limit: int) -> bool:
        """Whether there may be more."""
        owner = self._scheduler.owner
        taken = await self._ledger.take_over(owner, seconds=self._lease, alone=self._alone, limit=limit)
        self._scheduler.adopt(taken)
        self._taken += len(taken)
        return bool(taken)

    async def look(self) -> None:
        """One look. Raises StorageUnavailable."""
        scheduler = self._scheduler
        taken = await self._ledger.take_over(scheduler.owner, seconds=self._lease)
        if taken:
            _log.info("tasks_taken_over", extra={"tasks": len(taken)})
            scheduler.adopt(taken)
        doubtful, scheduler.doubtful = scheduler.doubtful, set()
        elsewhere = self._elsewhere()
        try:
            found = await self._held(doubtful | elsewhere)
        except StorageUnavailable:
            scheduler.doubtful |= doubtful
            raise
        own = [found[task_id] for task_id in doubtful if task_id in found]
        scheduler.adopt(task for task in own if task.owner == scheduler.owner and not task.state.finished)
        self._go_on_behind(elsewhere, found)
        if not self._alone:
            await self.catch_up(SETTLED)
            await self.help()

    async def parents(self) -> None:
        """Hears of tasks of others that have finished, for which tasks here wait. Raises StorageUnavailable."""
        elsewhere = self._elsewhere()
        if elsewhere:
            self._go_on_behind(elsewhere, await self._held(elsewhere))

    def _elsewhere(self) -> set[str]:
        return {parent for parent in self._scheduler.children if parent not in self._scheduler.tasks}

    def _go_on_behind(self, parents: set[str], found: Mapping[str, Task]) -> None:
        for parent in parents:
            if parent in found and found[parent].state.finished:
                self._scheduler.finished(found[parent])

    async def catch_up(self, settled: float = 0.0) -> None:
        """Hears of attempts of its tasks that ended by the word of another replica, as far as they began `settled`
        seconds ago. Raises StorageUnavailable."""
        scheduler = self._scheduler
        since = self._wall() - settled
        given = [(task.assigned_at or 0.0, task.id) for task in scheduler.given()]
        oldest = nsmallest(MOST_CHECKED, (one for one in given if one[0] < since))
        for task_id, found in (await self._held({task_id for _, task_id in oldest})).items():
            latest = scheduler.tasks.get(task_id)
            if latest is None or found.version <= latest.version:
                continue
            scheduler.drop(task_id)
            if found.state.finished:
                scheduler.finished(found)
            elif found.owner == scheduler.owner:
                scheduler.adopt([found])

    async def help(self) -> None:
        """Takes queued tasks of other replicas that this one has room for. Not again while some of those that it took
        last still wait here: it has no node for them either. Raises StorageUnavailable."""
        scheduler = self._scheduler
        if any(task_id in scheduler.ready for task_id in self._stolen):
            return
        free = [
            seat for seat in scheduler.seats.by_id.values() if seat.worker.active and seat.state.in_flight < seat.most
        ]
        if not free:
            return
        types = frozenset().union(*(seat.worker.task_types for seat in free))
        any_type = any(not seat.worker.task_types for seat in free)
        stolen = await self._ledger.steal(scheduler.owner, () if any_type else types, STEAL)
        self._stolen = tuple(task.id for task in stolen)
        scheduler.adopt(stolen)

    async def _held(self, ids: set[str]) -> dict[str, Task]:
        wanted = sorted(ids)
        found: dict[str, Task] = {}
        for start in range(0, len(wanted), AT_ONCE):
            found |= await self._ledger.get(wanted[start : start + AT_ONCE])
        return found
