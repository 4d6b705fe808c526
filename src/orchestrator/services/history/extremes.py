"""The shortest and the longest answer of each model on each server. Kept in memory: sums cannot tell them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from orchestrator.ports.history import DAY, MINUTE

Pair = tuple[str, str]  # node, model
MOST_PAIRS = 5000
KEPT = DAY + MINUTE  # seconds


class Record:
    """The largest value of any time up to now. Of all minutes it keeps those whose value no later minute reached: on
    average a handful of a day's 1,440."""

    __slots__ = ("minutes", "values")

    def __init__(self) -> None:
        self.minutes: list[int] = []  # rising
        self.values: list[float] = []  # falling

    def add(self, minute: int, value: float) -> None:
        """Minutes may come out of turn: a request counts by its arrival."""
        minutes, values = self.minutes, self.values
        index = bisect_left(minutes, minute)
        if index < len(values) and values[index] >= value:
            return
        after = index + 1 if index < len(minutes) and minutes[index] == minute else index
        first = index
        while first and values[first - 1] <= value:
            first -= 1
        minutes[first:after] = [minute]
        values[first:after] = [value]

    def since(self, minute: float) -> float | None:
        """The largest of the minutes from this one on."""
        index = bisect_left(self.minutes, minute)
        return self.values[index] if index < len(self.values) else None

    def forget(self, before: float) -> None:
        index = bisect_left(self.minutes, before)
        del self.minutes[:index]
        del self.values[:index]


class Extremes:
    """Of answered requests, by pair, for a day. Seconds since the epoch; `since` is when counting began."""

    def __init__(self, since: float) -> None:
        self.since = since
        self._longest: dict[Pair, Record] = {}
        self._shortest: dict[Pair, Record] = {}  # of values below zero
        self._counted: dict[Pair, int] = {}
        self._tidied = 0

    def add(self, pair: Pair, minute: int, durations: Sequence[float]) -> None:
        """`minute`: the start of a minute; durations in seconds, one at least."""
        if minute - self._tidied >= MINUTE:
            self._tidy(minute)
        record = self._longest.get(pair)
        if record is None:
            if len(self._longest) >= MOST_PAIRS:
                return
            record = self._longest[pair] = Record()
            self._shortest[pair] = Record()
        self._counted[pair] = self._counted.get(pair, 0) + len(durations)
        record.add(minute, max(durations))
        self._shortest[pair].add(minute, -min(durations))

    def between(self, pair: Pair, since: float, answered: int) -> tuple[float, float] | None:
        """The shortest and the longest since a whole minute, in which so many requests were answered. None where there
        was none, and where some were answered before counting began: how long those took is not known."""
        if pair not in self._longest or (since < self.since and answered > self._counted[pair]):
            return None
        shortest, longest = self._shortest[pair].since(since), self._longest[pair].since(since)
        return None if shortest is None or longest is None else (-shortest, longest)

    def _tidy(self, now: int) -> None:
        self._tidied = now
        for records in (self._longest, self._shortest):
            for pair in list(records):
                records[pair].forget(now - KEPT)
                if not records[pair].minutes:
                    del records[pair]
        self._counted = {pair: count for pair, count in self._counted.items() if pair in self._longest}
