"""One lane of the admission queue: the requests for one model in one class of priority."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turn:
    """When a principal was last served, as a number that only grows. Who is new takes its place behind all others."""

    __slots__ = ("entries", "number", "principal")

    def __init__(self, principal: str, number: int) -> None:
        self.principal = principal
        self.number = number
        self.entries = 0  # waiting, over all lanes


class Entry(Generic[T]):
    """One waiting request; `sequence` numbers are in the order of arrival."""

    __slots__ = ("deadline", "enqueued_at", "model", "priority", "sequence", "ticket", "turn")

    def __init__(
        self,
        ticket: T,
        sequence: int,
        model: str,
        turn: Turn,
        priority: int,
        enqueued_at: float,
        deadline: float | None,
    ) -> None:
        self.ticket = ticket
        self.sequence = sequence
        self.model = model
        self.turn = turn
        self.priority = priority
        self.enqueued_at = enqueued_at
        self.deadline = deadline


class Lane(Generic[T]):
    """Requests by arrival, and by principal. Adding and removing cost O(1); `fairest` O(log principals) at most."""

    __slots__ = ("_by_arrival", "_by_principal", "_head", "_turns", "first")

    def __init__(self, first: Entry[T]) -> None:
        # OrderedDict, not dict: the first item of a dict is slow to reach after many removals at its front.
        self._by_arrival: OrderedDict[int, Entry[T]] = OrderedDict()
        self._by_principal: dict[Turn, OrderedDict[int, Entry[T]]] = {}
        # Turn numbers only grow, so a stale number in this heap is a lower bound, put right when it comes up.
        self._turns: list[tuple[int, int, Turn]] = []
        # The last answer of `fairest`; it holds for as long as its turn number does.
        self._head: tuple[int, int, Entry[T]] | None = None
        self.first = first  # the entry that came first, as long as the lane is not empty
        self.add(first)

    def __len__(self) -> int:
        return len(self._by_arrival)

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(self._by_arrival.values())

    def add(self, entry: Entry[T]) -> None:
        self._by_arrival[entry.sequence] = entry
        own = self._by_principal.get(entry.turn)
        if own is None:
            own = self._by_principal[entry.turn] = OrderedDict()
            heappush(self._turns, (entry.turn.number, entry.sequence, entry.turn))
            if self._head is not None and entry.turn.number < self._head[0]:
                self._head = None
        own[entry.sequence] = entry

    def discard(self, entry: Entry[T]) -> None:
        """Takes out an entry that is here."""
        del self._by_arrival[entry.sequence]
        if entry is self.first and self._by_arrival:
            self.first = next(iter(self._by_arrival.values()))
        own = self._by_principal[entry.turn]
        del own[entry.sequence]
        if self._head is not None and self._head[2] is entry:
            self._head = None
        if not own:
            del self._by_principal[entry.turn]
            if len(self._turns) > 2 * len(self._by_principal) + 16:
                self._turns = [(turn.number, next(iter(entries)), turn) for turn, entries in self._by_principal.items()]
                heapify(self._turns)

    def fairest(self) -> tuple[int, int, Entry[T]]:
        """The first entry of the principal whose turn it is, behind its turn number and its sequence. The lane is not
        empty."""
        head = self._head
        if head is not None and head[0] == head[2].turn.number:
            return head
        turns = self._turns
        while True:
            number, sequence, turn = turns[0]
            own = self._by_principal.get(turn)
            if own is None:
                heappop(turns)
            elif number != turn.number:
                heapreplace(turns, (turn.number, sequence, turn))
            else:
                entry = next(iter(own.values()))
                self._head = head = (number, entry.sequence, entry)
                return head
