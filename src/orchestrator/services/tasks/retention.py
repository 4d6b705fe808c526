"""Forgets finished tasks, in steps that nobody notices."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.ports.task_archive import TaskArchive
from orchestrator.services.tasks.numbers import seq_at

EVERY = 60.0  # seconds between two clean-ups
STEP = 500  # tasks deleted at once
PAUSE = 0.1  # seconds between two steps, in which others write
_log = logging.getLogger("orchestrator.tasks")


@dataclass(frozen=True, slots=True)
class KeepRules:
    """`keep` in seconds since the submission; `completed` and `failed` are how many are kept at most, the latter of
    tasks that failed, timed out and were cancelled each."""

    keep: float = 30 * 86_400.0
    completed: int = 1_000_000
    failed: int = 100_000

    def most(self, state: TaskState) -> int:
        return self.completed if state is TaskState.COMPLETED else self.failed


class TaskRetention:
    """Deletes what need not be kept."""

    def __init__(self, archive: TaskArchive, rules: KeepRules, wall: Callable[[], float]) -> None:
        """`wall` tells the time in seconds since the epoch. `rules` may be exchanged while this runs."""
        self.rules = rules
        self._archive = archive
        self._wall = wall

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled."""
        while True:
            await sleep(EVERY)
            try:
                await self.sweep(sleep)
            except StorageUnavailable as error:
                _log.warning("tasks_not_forgotten", extra={"error": error.message})

    async def sweep(self, sleep: Callable[[float], Awaitable[None]]) -> int:
        """One clean-up. Returns how many tasks went; raises StorageUnavailable."""
        total = 0
        for state in sorted(FINISHED):
            by_number = await self._archive.last_kept(state, self.rules.most(state))
            through = max(seq_at(self._wall() - self.rules.keep), by_number or 0)
            while deleted := await self._archive.prune(state, through, STEP):
                total += deleted
                await sleep(PAUSE)
        if total:
            _log.info("tasks_forgotten", extra={"tasks": total})
        return total
