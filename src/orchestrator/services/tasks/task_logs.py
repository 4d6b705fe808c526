"""Log lines that nodes send while they work on a task."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import InvalidRequest, StorageUnavailable
from orchestrator.domain.storable import plain_text
from orchestrator.ports.task_logs import LogLine, LogPage, TaskLogStore
from orchestrator.services.tasks.bulletin import Bulletin

AT_ONCE = 1_000  # lines of one message
LONGEST = 16_000  # characters of a line; what is behind them is cut off
LEVEL_LENGTH = 20
LATEST = 1e11  # seconds since the epoch
EVERY = 600.0  # seconds between two searches for lines whose tasks are gone
STEP = 500  # tasks looked at at once
PAUSE = 0.1
_log = logging.getLogger("orchestrator.tasks")


@dataclass(frozen=True, slots=True)
class LogRules:
    """How many lines, and bytes of text, are kept of a task. The newest are."""

    lines: int = 10_000
    size: int = 1024**2


class TaskLogs:
    """One per process."""

    def __init__(self, store: TaskLogStore, bulletin: Bulletin, rules: LogRules, wall: Callable[[], float]) -> None:
        """`wall` tells the time in seconds since the epoch. `rules` may be exchanged while this runs."""
        self.rules = rules
        self._store = store
        self._bulletin = bulletin
        self._wall = wall

    def read(self, said: Sequence[Any], attempt: int) -> list[LogLine]:
        """Lines as nodes send them: texts, or objects with `message`, and `level` and `at` (seconds since the epoch)
        if they like. Raises InvalidRequest."""
        if len(said) > AT_ONCE:
            raise InvalidRequest(f"logs: at most {AT_ONCE:,} lines at once", details={"field": "logs"})
        now = self._wall()
        return [self._line(one, attempt, now) for one in said]

    async def append(self, task_id: str, lines: Sequence[LogLine]) -> int:
        """Durable when it returns; the number of the last line. Raises StorageUnavailable."""
        rules = self.rules
        last = await self._store.append(task_id, lines, rules.lines, rules.size)
        self._bulletin.logged(task_id, last - len(lines) + 1, last)
        return last

    async def page(self, task_id: str, after: int, limit: int) -> LogPage:
        """Raises StorageUnavailable."""
        return await self._store.page(task_id, after, limit)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Removes the lines of tasks that are no longer kept, until cancelled."""
        while True:
            await sleep(EVERY)
            try:
                await self.sweep(sleep)
            except StorageUnavailable as error:
                _log.warning("tasks_not_forgotten", extra={"error": error.message})

    async def sweep(self, sleep: Callable[[float], Awaitable[None]]) -> int:
        """One clean-up. Returns of how many tasks lines went; raises StorageUnavailable."""
        after, total = await self._store.forget_orphans("", STEP)
        while after:
            await sleep(PAUSE)
            after, gone = await self._store.forget_orphans(after, STEP)
            total += gone
        return total

    def _line(self, said: Any, attempt: int, now: float) -> LogLine:
        if isinstance(said, str):
            return LogLine(0, now, attempt, "info", plain_text(said, LONGEST))
        if not isinstance(said, dict) or not isinstance(said.get("message"), str):
            raise InvalidRequest("logs: each is a text or an object with a message", details={"field": "logs"})
        at = said.get("at", now)
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < LATEST:
            raise InvalidRequest("logs: at is in seconds since the epoch", details={"field": "logs"})
        level = plain_text(str(said.get("level") or "info"), LEVEL_LENGTH).lower()
        return LogLine(0, float(at), attempt, level, plain_text(said["message"], LONGEST))
