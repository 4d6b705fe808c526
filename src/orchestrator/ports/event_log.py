"""Where events are kept, so that they outlive a process and other processes can read them: many in one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that were written at once. `number` grows with each batch of the installation; `at` is when it was
    written, in seconds since the epoch; `body` is the writer's business."""

    number: int
    at: float
    count: int
    body: bytes


@dataclass(frozen=True, slots=True)
class EventHead:
    """The numbers of the newest batch and of the newest one that is no longer kept; how many bytes the kept ones
    have."""

    last: int = 0
    forgotten: int = 0
    size: int = 0


class EventLog(Protocol):
    """A batch with a number is readable before any batch with a higher one: who reads on from the last that it has read
    skips nothing. Every method raises StorageUnavailable when the database cannot be reached."""

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        """Writes a batch (its `number` does not count) and returns its number. `serial` counts the batches of `owner`
        up: one that is there already, because the answer was lost, is not written again, and 0 comes back."""

    async def head(self, *, begins: bool = False) -> EventHead:
        """The head as it is; for a process that `begins` numbers may jump, never back."""

    async def read(self, after: int, limit: int) -> tuple[EventBatch, ...]:
        """At most `limit` batches with numbers above `after`, in their order."""

    async def before(self, at: float) -> int:
        """The number of the newest kept batch that was written before a moment; that of the newest forgotten one where
        all kept ones are younger."""

    async def prune(self, before: float, most: int, limit: int) -> int:
        """Forgets at most `limit` of the oldest batches: those written before `before`, and those that make it more
        than `most` bytes. Returns how many."""

    async def leave(self, owner: str) -> None:
        """`owner` has written its last batch."""

    async def lost(self, owner: str, before: float, *, alone: bool) -> int:
        """How many others have ended without `leave` and have written nothing since `before`; each is counted once.
        `alone`: all others have ended; otherwise those whose lease (ports.ledger) is over."""
