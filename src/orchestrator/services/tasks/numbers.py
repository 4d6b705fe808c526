"""Numbers and names of new tasks, in the order of time: what is written together lies together in every index."""

from __future__ import annotations

from collections.abc import Callable

REPLICA_BITS = 10  # of `seq`: replicas that draw in the same microsecond get different numbers, almost always
RANDOM_BITS = 10  # of an id
_ID_MASK = (1 << 48) - 1
_ENDS = tuple(f"{number:03x}" for number in range(1 << 12))  # the last digits of ids; the others are the same for ms


def seq_at(moment: float) -> int:
    """What tasks that came before this moment (seconds since the epoch) are below of."""
    return max(int(moment * 1e6), 0) << REPLICA_BITS


class Numbers:
    """One per process."""

    def __init__(self, rand: Callable[[], float]) -> None:
        """`rand` gives uniform floats in [0, 1)."""
        self._rand = rand
        self._replica = int(rand() * (1 << REPLICA_BITS))
        self._moment = 0
        self._id = 0
        self._stem, self._stem_of = "", -1  # how ids begin

    def seq(self, now: float) -> int:
        """Grows with every call; `now` is seconds since the epoch."""
        self._moment = max(self._moment + 1, int(now * 1e6))
        return self._moment << REPLICA_BITS | self._replica

    def id(self, now: float) -> str:
        """`task_` and 12 hexadecimal digits: milliseconds, then chance. Never the same twice from one process; another
        may draw the same one, then the ledger says so."""
        drawn = int(now * 1e3) << RANDOM_BITS | int(self._rand() * (1 << RANDOM_BITS))
        self._id = max(self._id + 1, drawn)
        stem = (self._id & _ID_MASK) >> 12
        if stem != self._stem_of:
            self._stem, self._stem_of = f"task_{stem:09x}", stem
        return self._stem + _ENDS[self._id & 0xFFF]
