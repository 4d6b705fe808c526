"""The latest entries in memory, for the API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import Any

from orchestrator.ports.logs import LogEntry


class Ring(Collection[Mapping[str, Any]]):
    """`ports.logs.LogBook`. Listeners read from the ring itself: a slow one costs no memory, it loses entries."""

    def __init__(self, keep: int) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=keep)
        self._last = 0
        self._cleared = 0  # up to this number
        self._wakes: list[Callable[[], None]] = []
        self._lock = Lock()

    @property
    def listeners(self) -> int:
        return len(self._wakes)

    @property
    def last(self) -> int:
        return self._last

    def add(self, when: float, fields: Mapping[str, Any]) -> None:
        with self._lock:
            self._last += 1
            self._entries.append(LogEntry(self._last, when, str(fields.get("level", "info")), fields))
            wakes = tuple(self._wakes)
        for wake in wakes:
            wake()

    def latest(self) -> Sequence[LogEntry]:
        with self._lock:
            return tuple(reversed(self._entries))

    def after(self, number: int, most: int) -> tuple[Sequence[LogEntry], int]:
        with self._lock:
            first = self._last - len(self._entries) + 1
            found = tuple(islice(self._entries, max(0, number + 1 - first), max(0, number + 1 - first) + most))
            return found, max(0, first - 1 - max(number, self._cleared))

    def clear(self) -> int:
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._cleared = self._last
        return count

    @contextmanager
    def listening(self, wake: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._wakes.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter([entry.fields for entry in reversed(self.latest())])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry: object) -> bool:
        return any(entry == one for one in self)
