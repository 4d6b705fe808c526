"""What replicas tell each other of the gateway's counters, so that limits hold for all of them together. Nothing
depends on it: without it each replica counts for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class SharedCounters(NamedTuple):
    """Of one replica."""

    spent: Mapping[str, float]  # by caller: seconds of its rate that were used since the last time
    in_flight: Mapping[str, int]  # by node: requests under way


class CounterExchange(Protocol):
    """Best effort: what is said may be lost, and none of it comes back to who said it."""

    async def run(
        self, said: Callable[[], SharedCounters | None], heard: Callable[[str, SharedCounters], None]
    ) -> None:
        """Until cancelled: asks `said` several times a second what there is to tell (None: nothing), and calls `heard`
        with the name of another replica and what that one tells."""
