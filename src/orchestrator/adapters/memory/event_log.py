"""Events in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import islice

from orchestrator.ports.event_log import EventBatch, EventHead


class MemoryEventLog:
    """`EventLog` in a list, for one process."""

    def __init__(self) -> None:
        self._batches: list[EventBatch] = []
        self._head = EventHead()
        self._writers: dict[str, tuple[int, float]] = {}

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        if self._writers.get(owner, (0, 0.0))[0] >= serial:
            return 0
        self._writers[owner] = (serial, batch.at)
        head = self._head
        self._head = replace(head, last=head.last + 1, size=head.size + len(batch.body))
        self._batches.append(replace(batch, number=self._head.last))
        return self._head.last

    async def head(self, *, begins: bool = False) -> EventHead:
        return self._head

    async def read(self, after: int, limit: int) -> tuple[EventBatch, ...]:
        start = bisect_right(self._batches, after, key=lambda batch: batch.number)
        return tuple(islice(self._batches, start, start + limit))

    async def before(self, at: float) -> int:
        place = bisect_left(self._batches, at, key=lambda batch: batch.at)
        return self._batches[place - 1].number if place else self._head.forgotten

    async def prune(self, before: float, most: int, limit: int) -> int:
        gone = 0
        size = self._head.size
        for batch in self._batches[:limit]:
            if batch.at >= before and size <= most:
                break
            gone, size = gone + 1, size - len(batch.body)
        if gone:
            self._head = replace(self._head, forgotten=self._batches[gone - 1].number, size=size)
            del self._batches[:gone]
        return gone

    async def leave(self, owner: str) -> None:
        self._writers.pop(owner, None)

    async def lost(self, owner: str, before: float, *, alone: bool) -> int:
        gone = [name for name, (_, at) in self._writers.items() if name != owner and at < before]
        for name in gone if alone else ():
            del self._writers[name]
        return len(gone) if alone else 0
