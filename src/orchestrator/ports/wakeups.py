"""Words between replicas that something is worth a look: they make looks come sooner, and nothing depends on them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol


class Wakeup(StrEnum):
    QUEUED = "queued"  # a task is ready for which its replica has no node with room
    FINISHED = "finished"  # a task has finished: callers, or other tasks, may wait for it
    FOREIGN = "foreign"  # a replica changed a task that another one looks after
    EVENTS = "events"  # there are new events


class Wakeups(Protocol):
    """Best effort: words may be lost, and none comes back to who said it."""

    def tell(self, kind: Wakeup) -> None:
        """Says it to all other replicas, soon. Never waits and never raises; what is said again within some
        milliseconds is said once."""

    async def run(self, heard: Callable[[Wakeup], None]) -> None:
        """Speaks and listens until cancelled. After a break `heard` is called with every kind, as some may have been
        lost."""
