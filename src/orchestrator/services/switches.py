"""What operators have switched off: it is in force at once, and again after a restart.

Scheduling and types of tasks are the installation's: every process on the database follows within a second. The
gateway's queue and the drain are this process's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.storable import check_storable
from orchestrator.ports.switches import SwitchStore
from orchestrator.services.gateway.drain import Drain, DrainState
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.tasks.tasks import Tasks

LOOK = 1.0  # seconds between two looks at what other processes have switched
TASKS = "tasks"
TYPE = "type:"
QUEUE = "queue:"
DRAIN = "drain:"
_log = logging.getLogger("orchestrator.switches")


class Switches:
    """One per process. A database that is away keeps nothing from being switched: it is written down later."""

    def __init__(
        self,
        store: SwitchStore,
        tasks: Tasks,
        gateway: Gateway,
        drain: Drain,
        wall: Callable[[], float],
    ) -> None:
        """`wall` tells the time in seconds since the epoch."""
        self._store = store
        self._tasks = tasks
        self._gateway = gateway
        self._drain = drain
        self._wall = wall
        self._queue = QUEUE
        self._draining = DRAIN
        self._unwritten: dict[str, bool] = {}  # by name: off
        self._turns = 0  # how often something was switched here

    async def load(self, process: str = "") -> None:
        """Puts in force what was switched off when the last process ended. `process` names this one among those on the
        database, the same after a restart. Raises StorageUnavailable."""
        self._queue, self._draining = QUEUE + process, DRAIN + process
        off = await self._store.off()
        self._follow(off)
        if self._queue in off:
            self._gateway.pause()
        if self._draining in off:
            self._drain.start(0.0)
        if off:
            _log.warning("still_switched_off", extra={"names": sorted(off)})

    async def run(self, sleep: Callable[[float], Awaitable[None]], *, others: bool) -> None:
        """Until cancelled. `others`: other processes use the same database."""
        while True:
            await sleep(LOOK)
            try:
                await self._write()
                if others:
                    await self._look()
            except StorageUnavailable as error:
                _log.warning("switches_not_kept", extra={"error": error.message})

    async def stop(self) -> None:
        """The process ends in good order. A drain has served its end: the next start takes requests."""
        if self._drain.state is not None:
            await self._put(self._draining, off=False)

    async def start_tasks(self) -> bool:
        """Tasks are taken in and handed out. False when they were."""
        changed = self._tasks.start()
        await self._put(TASKS, off=False)
        return changed

    async def stop_tasks(self) -> bool:
        """The opposite. False when it was so."""
        changed = self._tasks.stop()
        await self._put(TASKS, off=True)
        return changed

    async def pause_type(self, task_type: str) -> None:
        """Tasks of the type wait. Raises InvalidRequest for a name that no database can keep."""
        check_storable(task_type, TYPE + task_type)
        self._tasks.pause_type(task_type)
        await self._put(TYPE + task_type, off=True)

    async def resume_type(self, task_type: str) -> None:
        """The opposite. Raises as `pause_type`."""
        check_storable(task_type, TYPE + task_type)
        self._tasks.resume_type(task_type)
        await self._put(TYPE + task_type, off=False)

    async def pause_queue(self) -> None:
        self._gateway.pause()
        await self._put(self._queue, off=True)

    async def resume_queue(self) -> None:
        self._gateway.resume()
        await self._put(self._queue, off=False)

    async def drain(self, timeout: float) -> DrainState:
        """`timeout` in seconds: see `Drain.start`."""
        state = self._drain.start(timeout)
        await self._put(self._draining, off=True)
        return state

    async def cancel_drain(self) -> bool:
        """False when no drain was under way."""
        changed = self._drain.cancel()
        await self._put(self._draining, off=False)
        return changed

    async def _look(self) -> None:
        turns = self._turns
        off = await self._store.off()
        if turns == self._turns and not self._unwritten:  # else what was read may be older than what is here
            self._follow(off)

    def _follow(self, off: frozenset[str]) -> None:
        """What holds for all processes, as the database has it."""
        if TASKS in off:
            self._tasks.stop()
        elif self._tasks.stopped:
            self._tasks.start()
        wanted = {name.removeprefix(TYPE) for name in off if name.startswith(TYPE)}
        for task_type in wanted - self._tasks.paused_types:
            self._tasks.pause_type(task_type)
        for task_type in self._tasks.paused_types - wanted:
            self._tasks.resume_type(task_type)

    async def _put(self, name: str, *, off: bool) -> None:
        self._turns += 1
        self._unwritten[name] = off
        try:
            await self._write()
        except StorageUnavailable as error:
            _log.warning("switches_not_kept", extra={"error": error.message})

    async def _write(self) -> None:
        for name, off in list(self._unwritten.items()):
            await self._store.put(name, off=off, when=self._wall())
            if self._unwritten.get(name) is off:
                del self._unwritten[name]
