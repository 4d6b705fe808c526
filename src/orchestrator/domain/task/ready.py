"""The tasks that are ready, in the order in which they are handed out.

Who goes first, among the classes that some node has room for:

1. the best priority, 1 before 5; but when `SHARE` tasks of better ones have gone before a priority that waits, one of
   its tasks is next: a stream of high ones never starves a low one;
2. of equal priority, the principal that was served least recently;
3. of one principal, the task that came first.

A class that no node has room for is set aside and costs nothing until `unblock`. Adding, taking and removing cost
O(log classes + log principals).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import chain

from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.task import LOWEST

SHARE = 16
MOST_GONE = 64  # places of a line that are kept though those who had them are gone
_BY_PRIORITY = range(LOWEST + 1)  # places of lists that priorities are looked up in; 0 is none

HasRoom = Callable[[int], bool]  # by the class's number


Place = tuple[int, str]  # a task's seq and id: two replicas may have given the same seq


class Ready:
    """One task of the set. `number` is its class's, `seq` orders tasks as they came."""

    __slots__ = ("id", "number", "place", "principal", "priority", "seq")

    def __init__(self, id: str, seq: int, number: int, priority: int, principal: str) -> None:
        self.id = id
        self.seq = seq
        self.number = number
        self.priority = priority
        self.principal = principal
        self.place: Place = (seq, id)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ready):
            return NotImplemented
        same = self.number == other.number and self.priority == other.priority and self.principal == other.principal
        return same and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __repr__(self) -> str:
        return f"Ready({self.id!r}, {self.seq}, {self.number}, {self.priority}, {self.principal!r})"


class _Lane:
    """One principal's ready tasks of one class and priority."""

    __slots__ = ("back", "came", "line", "order")

    def __init__(self) -> None:
        self.came: dict[str, Ready] = {}  # by id
        self.line: deque[Ready] = deque()  # the same in the order of their places, and some that are gone
        self.back: dict[Place, Ready] = {}  # those that came back when later ones were here
        self.order: list[Place] = []  # a heap of `back`, and of some that are gone

    def __bool__(self) -> bool:
        return bool(self.came or self.back)

    def __iter__(self) -> Iterator[Ready]:
        return chain(self.came.values(), self.back.values())

    def add(self, place: Place, ready: Ready) -> None:
        if self.came and place < self.line[-1].place:
            self.back[place] = ready
            heappush(self.order, place)
        else:
            self.came[ready.id] = ready
            self.line.append(ready)

    def discard(self, ready: Ready) -> None:
        if self.came.pop(ready.id, None) is None:
            del self.back[ready.place]
        elif len(self.line) > MOST_GONE and len(self.line) > 2 * len(self.came):
            self.line = deque(self.came.values())

    def first(self) -> Ready:
        """The one that came first; there must be one."""
        order, line, came = self.order, self.line, self.came
        while order and order[0] not in self.back:
            heappop(order)
        while line and came.get(line[0].id) is not line[0]:
            line.popleft()
        if not order or (line and line[0].place < order[0]):
            return line[0]
        return self.back[order[0]]


class _Share:
    """One principal's ready tasks of one priority."""

    __slots__ = ("heads", "lanes", "listed")

    def __init__(self) -> None:
        self.lanes: dict[int, _Lane] = {}  # by class; none empty
        self.heads: list[tuple[Place, int]] = []  # a heap: for each lane one that counts, and some that do not
        # By class the head that counts, for each lane that is not set aside: its first task's place or an earlier one.
        self.listed: dict[int, Place] = {}

    def add(self, ready: Ready, blocked: bool) -> None:
        """`blocked`: its class is set aside, and is not listed before `show`."""
        place, number = ready.place, ready.number
        lane = self.lanes.get(number)
        if lane is None:
            lane = self.lanes[number] = _Lane()
        lane.add(place, ready)
        if not blocked:
            self._list(number, place)

    def discard(self, ready: Ready) -> None:
        lane = self.lanes[ready.number]
        lane.discard(ready)
        if not lane:
            del self.lanes[ready.number]

    def show(self, number: int) -> None:
        """The class is no longer set aside."""
        lane = self.lanes.get(number)
        if lane is not None:
            self._list(number, lane.first().place)

    def _list(self, number: int, place: Place) -> None:
        listed = self.listed.get(number)
        if listed is None or place < listed:
            self.listed[number] = place
            heappush(self.heads, (place, number))

    def head(self, has_room: HasRoom, aside: _Aside) -> Ready | None:
        heads, listed = self.heads, self.listed
        while heads:
            place, number = heads[0]
            lane = self.lanes.get(number)
            if listed.get(number) != place:
                heappop(heads)
            elif lane is None or number in aside.shares:
                heappop(heads)
                del listed[number]
                if lane is not None:
                    aside.shares[number].add(self)
            else:
                first = lane.first()
                if first.place != place:
                    listed[number] = first.place
                    heapreplace(heads, (first.place, number))
                elif has_room(number):
                    return first
                else:
                    aside.put(number)
        return None


class _Aside:
    """The classes that are set aside, and for each priority how many others have ready tasks: where there are none,
    nobody need be asked."""

    __slots__ = ("counts", "others", "shares")

    def __init__(self) -> None:
        self.shares: dict[int, set[_Share]] = {}  # by class: who has tasks of it that are not listed
        # By priority: how many tasks each class has, where it has any.
        self.counts: list[dict[int, int]] = [{} for _ in _BY_PRIORITY]
        self.others: list[int] = [0 for _ in _BY_PRIORITY]

    def put(self, number: int) -> None:
        if number not in self.shares:
            self.shares[number] = set()
            for priority, counts in enumerate(self.counts):
                if number in counts:
                    self.others[priority] -= 1

    def take_back(self, number: int) -> None:
        for share in self.shares.pop(number):
            share.show(number)
        for priority, counts in enumerate(self.counts):
            if number in counts:
                self.others[priority] += 1


class ReadySet:
    """Ready tasks by priority, principal and class."""

    def __init__(self) -> None:
        self.classes: list[TaskClass] = []  # by number
        self._numbers: dict[TaskClass, int] = {}
        self._tasks: dict[str, Ready] = {}
        self._shares: list[dict[str, _Share]] = [{} for _ in _BY_PRIORITY]
        # (turn, principal), one for each share; turns only grow, so what is stale is a lower bound.
        self._turns: list[list[tuple[int, str]]] = [[] for _ in _BY_PRIORITY]
        self._listed: list[set[str]] = [set() for _ in _BY_PRIORITY]
        self._served: dict[str, int] = {}  # when each principal was served last, as a number that only grows
        self._turn = 0
        self._passed: list[int] = [0 for _ in _BY_PRIORITY]
        self._aside = _Aside()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def number(self, of: TaskClass) -> int:
        """The class's number, the same for equal classes for as long as the set lives."""
        number = self._numbers.get(of)
        if number is None:
            number = self._numbers[of] = len(self.classes)
            self.classes.append(of)
        return number

    def add(self, ready: Ready) -> None:
        """A task that comes back with its old `seq` goes before those of its class that came later."""
        self._tasks[ready.id] = ready
        number, priority, aside = ready.number, ready.priority, self._aside
        counts = aside.counts[priority]
        count = counts.get(number, 0)
        counts[number] = count + 1
        hidden = aside.shares.get(number)
        if not count and hidden is None:
            aside.others[priority] += 1
        shares = self._shares[priority]
        share = shares.get(ready.principal)
        if share is None:
            share = shares[ready.principal] = _Share()
            if ready.principal not in self._served:
                self._turn += 1
                self._served[ready.principal] = self._turn
            if ready.principal not in self._listed[ready.priority]:
                self._listed[ready.priority].add(ready.principal)
                heappush(self._turns[ready.priority], (self._served[ready.principal], ready.principal))
        share.add(ready, hidden is not None)
        if hidden is not None:
            hidden.add(share)

    def discard(self, task_id: str) -> bool:
        """Takes a task out. False when it is not here."""
        ready = self._tasks.pop(task_id, None)
        if ready is None:
            return False
        number, priority, aside = ready.number, ready.priority, self._aside
        shares = self._shares[priority]
        share = shares[ready.principal]
        share.discard(ready)
        hidden = aside.shares.get(number)
        if hidden is not None and number not in share.lanes:
            hidden.discard(share)
        counts = aside.counts[priority]
        counts[number] -= 1
        if not counts[number]:
            del counts[number]
            if hidden is None:
                aside.others[priority] -= 1
        if not share.lanes:
            del shares[ready.principal]
            for others in self._shares:
                if ready.principal in others:
                    break
            else:
                del self._served[ready.principal]
        return True

    def next(self, has_room: HasRoom) -> Ready | None:
        """The task to hand out next, which stays until it is taken. A class without room is set aside."""
        for priority in self._order():
            found = self._head(priority, has_room)
            if found is not None:
                return found
        return None

    def take(self, ready: Ready) -> None:
        """The task that `next` returned is handed out."""
        self._turn += 1
        self._served[ready.principal] = self._turn
        self._passed[ready.priority] = 0
        self.discard(ready.id)
        for lower in range(ready.priority + 1, LOWEST + 1):
            if self._shares[lower]:
                self._passed[lower] += 1

    def set_aside(self, number: int) -> None:
        """No node takes this class just now, whatever room there is."""
        self._aside.put(number)

    def unblock(self, has_room: HasRoom) -> None:
        """Looks again at the classes that were set aside."""
        for number in [number for number in self._aside.shares if has_room(number)]:
            self._aside.take_back(number)

    def by_class(self) -> Iterator[tuple[TaskClass, int]]:
        """How many tasks of each class are ready."""
        found: Counter[int] = Counter()
        for counts in self._aside.counts:
            found.update(counts)
        for number, count in found.items():
            yield self.classes[number], count

    def ahead(self, task_id: str) -> int | None:
        """How many ready tasks of its class have a better priority or came earlier; None when it is not here. Costs
        O(ready tasks of the class)."""
        ready = self._tasks.get(task_id)
        if ready is None:
            return None
        return sum(
            (other.priority, other.place) < (ready.priority, ready.place)
            for shares in self._shares
            for share in shares.values()
            for other in share.lanes.get(ready.number, ())
        )

    def _order(self) -> list[int]:
        waiting = [priority for priority, shares in enumerate(self._shares) if shares]
        if len(waiting) < 2:
            return waiting
        starved = [priority for priority in waiting if self._passed[priority] >= SHARE]
        return starved + [priority for priority in waiting if priority not in starved] if starved else waiting

    def _head(self, priority: int, has_room: HasRoom) -> Ready | None:
        """By turn. A principal whose classes have no room keeps its turn."""
        turns, shares, aside = self._turns[priority], self._shares[priority], self._aside
        without: list[tuple[int, str]] = []
        found: Ready | None = None
        while turns and found is None and aside.others[priority]:
            turn, principal = turns[0]
            share = shares.get(principal)
            if share is None:
                heappop(turns)
                self._listed[priority].discard(principal)
            elif turn != self._served[principal]:
                heapreplace(turns, (self._served[principal], principal))
            else:
                found = share.head(has_room, aside)
                if found is None:
                    without.append(heappop(turns))
        for item in without:
            heappush(turns, item)
        return found
