"""Forgets old events, and tells followers when a process ended with events that were not written down."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.event_log import EventLog
from orchestrator.services.tasks.bulletin import Bulletin

EVERY = 5.0  # seconds between two looks
SILENT = 10.0  # seconds in which a process that has just begun tells everybody that it lives
STEP = 200  # batches forgotten at once
PAUSE = 0.1  # seconds between two steps, in which others write
_log = logging.getLogger("orchestrator.tasks")


@dataclass(frozen=True, slots=True)
class EventRules:
    """For how many seconds events are kept, and how many bytes of them at most."""

    keep: float = 7 * 86_400.0
    size: int = 256 * 1024**2


class EventRetention:
    """One per process."""

    def __init__(
        self,
        log: EventLog,
        bulletin: Bulletin,
        rules: EventRules,
        wall: Callable[[], float],
        owner: str,
        *,
        alone: bool,
    ) -> None:
        """`wall` tells the time in seconds since the epoch; the rest as for `Bulletin`. `rules` may be exchanged while
        this runs."""
        self.rules = rules
        self._log = log
        self._bulletin = bulletin
        self._wall = wall
        self._owner = owner
        self._alone = alone

    async def start(self) -> None:
        """When no other process can use the log: whether the one before ended without its last word. Raises
        StorageUnavailable."""
        if self._alone and await self._log.lost(self._owner, math.inf, alone=True):
            self._bulletin.missed("the service ended without warning")

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled."""
        while True:
            await sleep(EVERY)
            try:
                if not self._alone and await self._log.lost(self._owner, self._wall() - SILENT, alone=False):
                    self._bulletin.missed("a replica ended without warning")
                await self.sweep(sleep)
            except StorageUnavailable as error:
                _log.warning("events_not_forgotten", extra={"error": error.message})

    async def sweep(self, sleep: Callable[[float], Awaitable[None]]) -> int:
        """One clean-up. Returns how many batches went; raises StorageUnavailable."""
        total = 0
        rules = self.rules
        if await self._nothing_due():
            return 0
        while gone := await self._log.prune(self._wall() - rules.keep, rules.size, STEP):
            total += gone
            if gone < STEP:
                break
            await sleep(PAUSE)
        return total

    async def _nothing_due(self) -> bool:
        """Looks without writing, as most looks find nothing."""
        head = await self._log.head()
        if head.size > self.rules.size:
            return False
        oldest = await self._log.read(head.forgotten, 1)
        return not oldest or oldest[0].at >= self._wall() - self.rules.keep
