"""The latest log entries of this process, kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class LogEntry:
    """`number` grows by one with each entry of the process; `when` is in seconds since the epoch; `fields` are plain
    data without secrets: timestamp, level, logger, event, and what the event tells."""

    number: int
    when: float
    level: str  # debug, info, warning, error or critical
    fields: Mapping[str, Any]


class LogBook(Collection[Mapping[str, Any]], Protocol):
    """Written to by any thread; iterating gives the fields of the entries, oldest first."""

    @property
    def listeners(self) -> int: ...

    @property
    def last(self) -> int:
        """The number of the newest entry ever; 0 before the first."""

    def latest(self) -> Sequence[LogEntry]:
        """All that are kept, newest first."""

    def after(self, number: int, most: int) -> tuple[Sequence[LogEntry], int]:
        """The oldest `most` entries with a higher number, oldest first, and how many between are gone because there
        was no room for them. Those that were cleared do not count."""

    def clear(self) -> int:
        """Forgets the entries. Returns how many there were."""

    def listening(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Calls `wake` for each new entry, on the thread that wrote it, until the block ends. `wake` must not log."""
