"""Where the log lines of tasks are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LogLine:
    """`number` counts a task's lines from 1 up; `at` is in seconds since the epoch."""

    number: int
    at: float
    attempt: int
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """`dropped` is how many of the task's first lines are no longer kept, `last` the number of its newest line."""

    lines: tuple[LogLine, ...] = ()
    last: int = 0
    dropped: int = 0


class TaskLogStore(Protocol):
    """Every method raises StorageUnavailable when the database cannot be reached."""

    async def append(self, task: str, lines: Sequence[LogLine], most_lines: int, most_bytes: int) -> int:
        """Adds lines (their `number` does not count) behind the task's others, in one transaction; the oldest go, in
        the portions in which they came, when there are more lines, or bytes of text, than there may be. Returns the
        number of the last."""

    async def page(self, task: str, after: int, limit: int) -> LogPage:
        """At most `limit` lines with numbers above `after`, in their order."""

    async def forget_orphans(self, after: str, limit: int) -> tuple[str, int]:
        """Removes the lines of tasks that are no longer kept: looks at `limit` tasks with lines, whose ids follow
        `after`. Returns the last id that was looked at, '' at the end, and of how many tasks lines went."""
