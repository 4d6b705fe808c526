"""Keeps the history as small as the operator wants it, in steps that nobody notices."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.history import HistoryStore, Retention

EVERY = 60.0  # seconds between two clean-ups
STEP = 1_000  # rows deleted at once
PAUSE = 0.1  # seconds between two steps, in which others write

_log = logging.getLogger("orchestrator.history")


class Cleanup:
    """Deletes what need not be kept."""

    def __init__(self, store: HistoryStore, retention: Retention, wall: Callable[[], float]) -> None:
        """`wall` tells the time in seconds since the epoch. `retention` may be exchanged while this runs."""
        self.retention = retention
        self._store = store
        self._wall = wall

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled."""
        while True:
            await sleep(EVERY)
            try:
                await self.sweep(sleep)
            except StorageUnavailable as error:
                _log.warning("history_not_cleaned", extra={"error": error.message})

    async def sweep(self, sleep: Callable[[float], Awaitable[None]]) -> int:
        """One clean-up. Returns how many rows went; raises StorageUnavailable."""
        total = 0
        while deleted := await self._store.prune(self.retention, self._wall(), STEP):
            total += deleted
            await sleep(PAUSE)
        if total:
            _log.info("history_cleaned", extra={"rows": total})
        return total
