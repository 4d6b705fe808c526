"""The admission queue: requests that wait until a node has room for their model.

Who goes first, among the models that have room:

1. the highest effective priority: `boost` is added for every `boost_interval` that a request has waited;
2. of equal priority, the principal that was served least recently (round robin, so that nobody's backlog delays others
   by more than one request each turn);
3. of one principal, the request that came first.

Within one class of priority the turns of principals come before age, otherwise a large backlog would age past
everybody who came later. Age decides between classes: when the oldest request of a lower class has caught up with a
higher one, that request competes with it, and no other of its class.

Every time is in monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from orchestrator.domain.drain import DrainRate
from orchestrator.domain.errors import QueueFull, QueuePaused
from orchestrator.domain.lane import Entry, Lane, Turn

T = TypeVar("T", bound=Hashable)

PAUSED_RETRY_AFTER = 10.0
_LONGEST_ESTIMATE = 300.0
_MOST_RATES = 4096  # models whose drain rate is remembered; those with a backlog always are


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Limits and ageing. Seconds."""

    max_size: int = 1000
    principal_share: float = 1.0  # part of max_size that one principal may fill
    max_priority: int = 100
    boost_amount: int = 5
    boost_interval: float = 30.0  # 0: nothing ages


class AdmissionQueue(Generic[T]):
    """Bounded, ordered by priority, fair. A model without room never delays another."""

    def __init__(self, policy: QueuePolicy | None = None) -> None:
        self.policy = policy or QueuePolicy()
        self.paused = False
        self.total_queued = 0
        self.total_dropped = 0  # refused or expired
        self.total_popped = 0
        self._waited = 0.0  # by those that were popped
        self.entries: OrderedDict[T, Entry[T]] = OrderedDict()  # by arrival
        self._lanes: dict[str, dict[int, Lane[T]]] = {}  # by model, by priority; only those with entries
        self._turns: dict[str, Turn] = {}  # of principals with entries
        self._deadlines: list[tuple[float, int, Entry[T]]] = []
        self._overdue: list[T] = []
        self._sequence = 0
        self._drain = DrainRate()
        self._drains: dict[str, DrainRate] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, ticket: T) -> bool:
        return ticket in self.entries

    # Coming and going

    def push(
        self,
        ticket: T,
        *,
        model: str,
        principal: str,
        priority: int,
        now: float,
        deadline: float | None = None,
    ) -> int:
        """Lets a request wait. Returns its place among those for its model, 1 = next: an upper bound, as fairness may
        bring it forward. Raises QueueFull and QueuePaused with a `retry_after` from the measured drain rate."""
        policy = self.policy
        if self.paused:
            self.total_dropped += 1
            raise QueuePaused(retry_after=PAUSED_RETRY_AFTER)
        turn = self._turns.get(principal)
        own = turn.entries if turn is not None else 0
        if len(self.entries) >= policy.max_size or own >= max(policy.max_size * policy.principal_share, 1):
            self.total_dropped += 1
            raise QueueFull(retry_after=self.expected_wait(now), details=self.outlook(model, now))
        priority = min(max(priority, 0), policy.max_priority)
        self._sequence += 1
        if turn is None:
            turn = self._turns[principal] = Turn(principal, self._sequence)
        lanes = self._lanes.get(model)
        if lanes is None:
            lanes = self._lanes[model] = {}
            self._begin(model, now)
        entry = Entry(ticket, self._sequence, model, turn, priority, now, deadline)
        lane = lanes.get(priority)
        if lane is None:
            lanes[priority] = Lane(entry)
        else:
            lane.add(entry)
        turn.entries += 1
        self.entries[ticket] = entry
        if deadline is not None:
            heappush(self._deadlines, (deadline, entry.sequence, entry))
        self.total_queued += 1
        return sum([len(other) for level, other in lanes.items() if level >= priority])

    def pop(self, ready: Callable[[str], bool] | Iterable[str], now: float) -> T | None:
        """The request to serve next, or None: nobody waits for a model that has room, or the queue is paused.
        `ready` tells whether a model has room, or lists those that have. Nothing expired is ever returned."""
        ticket = self.peek(ready, now)
        if ticket is not None:
            self.take(ticket, now)
        return ticket

    def peek(self, ready: Callable[[str], bool] | Iterable[str], now: float) -> T | None:
        """What `pop` would return; it keeps its place until `take`."""
        if self.paused:
            return None
        self._sweep(now)
        entry = self._choose(ready, now) if self.entries else None
        return entry.ticket if entry is not None else None

    def take(self, ticket: T, now: float) -> None:
        """The request that `peek` returned is served."""
        entry = self.entries[ticket]
        self._sequence += 1
        entry.turn.number = self._sequence
        self._waited += now - entry.enqueued_at
        self.total_popped += 1
        self._drain.served(now)
        self._drains[entry.model].served(now)
        self._take(entry)

    def remove(self, ticket: T) -> bool:
        """Forgets a request whose client left. False when it does not wait here."""
        entry = self.entries.get(ticket)
        if entry is None:
            return False
        self._take(entry)
        return True

    def expire(self, now: float) -> list[T]:
        """Takes out and returns those whose deadline has passed, each of them once."""
        self._sweep(now)
        overdue, self._overdue = self._overdue, []
        return overdue

    def pause(self) -> None:
        """Takes no one in and serves no one; who waits keeps its place, and its deadline runs."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def adopt(self, policy: QueuePolicy) -> None:
        """New limits for a running queue. Nobody who waits is turned out when it becomes smaller."""
        self.policy = policy

    # What people ask

    def waiting(self, model: str) -> int:
        """How many wait for a model."""
        lanes = self._lanes.get(model)
        return sum([len(lane) for lane in lanes.values()]) if lanes is not None else 0

    def expected_wait(self, now: float, model: str | None = None, ahead: int | None = None) -> float:
        """Seconds until `ahead` requests (default: all that wait, for `model` when given) are served, at the rate
        measured while there was a backlog. Between 1 and 300."""
        rate = self._drain if model is None else self._drains.get(model, self._drain)
        if ahead is None:
            ahead = len(self.entries) if model is None else self.waiting(model)
        return min(max(rate.seconds_for(max(ahead, 1), now, ahead > 0), 1.0), _LONGEST_ESTIMATE)

    def outlook(self, model: str, now: float) -> dict[str, Any]:
        """What a newcomer may expect: its place among those for its model, 1 = next, and the wait in milliseconds."""
        place = self.waiting(model) + 1
        return {"queuePosition": place, "expectedWaitMs": round(self.expected_wait(now, model, place) * 1000)}

    def position(self, ticket: T, now: float) -> int | None:
        """The place among those who wait for the same model, 1 = next, by priority and age: an upper bound, as fairness
        may bring it forward. None when it does not wait here. Costs O(waiting for the model)."""
        entry = self.entries.get(ticket)
        if entry is None:
            return None
        own = self._rank(entry, now)
        place = 1
        for lane in self._lanes[entry.model].values():
            place += sum(self._rank(other, now) < own for other in lane)
        return place

    def snapshot(self, now: float, limit: int = 100) -> dict[str, Any]:
        """Everything to show (fleet contract 1.6); `items` are the first `limit` by effective priority and age, each
        with its opaque `ticket`."""
        by_model = {model: self.waiting(model) for model in self._lanes}
        entries = sorted(self.entries.values(), key=lambda entry: self._rank(entry, now))
        return {
            "current_size": len(self.entries),
            "max_size": self.policy.max_size,
            "total_queued": self.total_queued,
            "total_dropped": self.total_dropped,
            "total_popped": self.total_popped,
            "avg_wait_time": self._waited / self.total_popped if self.total_popped else 0.0,
            "paused": self.paused,
            "by_model": by_model,
            "drain_rate": self._drain.rate,
            "items": [self._show(entry, now) for entry in entries[:limit]],
        }

    # Inside

    def _show(self, entry: Entry[T], now: float) -> dict[str, Any]:
        return {
            "ticket": entry.ticket,
            "model": entry.model,
            "priority": -self._rank(entry, now)[0],
            "base_priority": entry.priority,
            "principal": entry.turn.principal,
            "enqueue_time": entry.enqueued_at,
            "deadline": entry.deadline,
            "wait_time": max(now - entry.enqueued_at, 0.0),
        }

    def _effective(self, priority: int, enqueued_at: float, now: float) -> int:
        policy = self.policy
        waited = now - enqueued_at
        if policy.boost_interval <= 0 or waited < policy.boost_interval:
            return priority
        boosted = priority + policy.boost_amount * int(waited / policy.boost_interval)
        return max(min(boosted, policy.max_priority), priority)

    def _rank(self, entry: Entry[T], now: float) -> tuple[int, int]:
        """By priority and age, smaller first."""
        return -self._effective(entry.priority, entry.enqueued_at, now), entry.sequence

    def _choose(self, ready: Callable[[str], bool] | Iterable[str], now: float) -> Entry[T] | None:
        """By turn from the highest class, unless the oldest of a lower one has caught up with its oldest."""
        lanes = self._lanes
        names = [name for name in lanes if ready(name)] if callable(ready) else [n for n in ready if n in lanes]
        level, top = self._top(names)
        if not top:
            return None
        best = min([lane.fairest() for lane in top])[2] if len(top) > 1 else top[0].fairest()[2]
        policy = self.policy
        if policy.boost_interval <= 0 or policy.boost_amount <= 0:
            return best
        if now - next(iter(self.entries.values())).enqueued_at < policy.boost_interval:
            return best
        reached = self._effective(level, min([lane.first.enqueued_at for lane in top]), now)
        return self._risen(names, level, reached, best, now)

    def _top(self, names: list[str]) -> tuple[int, list[Lane[T]]]:
        """The highest class that has requests for these models, and its lanes."""
        level = -1
        top: list[Lane[T]] = []
        for name in names:
            lanes = self._lanes[name]
            highest = max(lanes) if len(lanes) > 1 else next(iter(lanes))
            if highest > level:
                level, top = highest, [lanes[highest]]
            elif highest == level:
                top.append(lanes[highest])
        return level, top

    def _risen(self, names: list[str], level: int, reached: int, best: Entry[T], now: float) -> Entry[T]:
        """`best`, or the oldest of a class below `level` that has risen above `reached`, the highest class's oldest, or
        that has risen to it and whose principal's turn it is."""
        policy = self.policy
        latest: dict[int, float] = {}  # by class: who came after this has not risen so far
        for name in names:
            for priority, lane in self._lanes[name].items():
                if priority >= level:
                    continue
                if priority not in latest:
                    steps = -((priority - reached) // policy.boost_amount)
                    latest[priority] = now - steps * policy.boost_interval
                other = lane.first
                if other.enqueued_at > latest[priority]:
                    continue
                risen = self._effective(priority, other.enqueued_at, now)
                if risen > reached or (
                    risen == reached and (other.turn.number, other.sequence) < (best.turn.number, best.sequence)
                ):
                    best, reached = other, risen
        return best

    def _take(self, entry: Entry[T]) -> None:
        del self.entries[entry.ticket]
        lanes = self._lanes[entry.model]
        lane = lanes[entry.priority]
        lane.discard(entry)
        if not lane:
            del lanes[entry.priority]
            if not lanes:
                del self._lanes[entry.model]
        turn = entry.turn
        turn.entries -= 1
        if not turn.entries:
            del self._turns[turn.principal]
        if len(self._deadlines) > 2 * len(self.entries) + 64:
            self._deadlines = [item for item in self._deadlines if item[2].ticket in self.entries]
            heapify(self._deadlines)

    def _sweep(self, now: float) -> None:
        """Takes out what is past its deadline; `expire` tells the owners."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            entry = heappop(deadlines)[2]
            if self.entries.get(entry.ticket) is entry:
                self.total_dropped += 1
                self._overdue.append(entry.ticket)
                self._take(entry)
                deadlines = self._deadlines

    def _begin(self, model: str, now: float) -> None:
        """A backlog begins, for this model and perhaps at all."""
        if not self.entries:
            self._drain.begin(now)
        rate = self._drains.get(model)
        if rate is None:
            if len(self._drains) >= _MOST_RATES:
                self._drains = {name: self._drains[name] for name in self._lanes if name in self._drains}
            rate = self._drains[model] = DrainRate()
        rate.begin(now)
