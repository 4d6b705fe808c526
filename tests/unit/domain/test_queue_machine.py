"""Any order of arrivals, departures and time keeps the queue's promises."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain.errors import QueueFull, QueuePaused
from orchestrator.domain.queue import AdmissionQueue, QueuePolicy

MODELS = ["llama", "qwen", "gemma"]
PRINCIPALS = ["ada", "bob", "eve"]


@dataclass
class Waiting:
    """What the test itself knows of one request."""

    ticket: int
    model: str
    principal: str
    priority: int
    since: float
    deadline: float | None


class QueueMachine(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 12), amount=st.integers(0, 40))
    def start(self, size: int, amount: int) -> None:
        self.now = 1000.0
        self.policy = QueuePolicy(max_size=size, boost_amount=amount, boost_interval=30.0)
        self.queue: AdmissionQueue[int] = AdmissionQueue(self.policy)
        self.waiting: dict[int, Waiting] = {}
        self.overdue: set[int] = set()
        self.count = 0
        self.events = 0
        self.turns: dict[str, int] = {}  # principal -> when it was last served, or came in if it has not been since

    def lapse(self) -> None:
        for ticket, one in list(self.waiting.items()):
            if one.deadline is not None and one.deadline <= self.now:
                self.overdue.add(ticket)
                self.forget(ticket)

    def forget(self, ticket: int) -> Waiting:
        gone = self.waiting.pop(ticket)
        if all(one.principal != gone.principal for one in self.waiting.values()):
            self.turns.pop(gone.principal, None)
        return gone

    def level(self, one: Waiting) -> int:
        boost = self.policy.boost_amount * int((self.now - one.since) / self.policy.boost_interval)
        return max(min(one.priority + boost, self.policy.max_priority), one.priority)

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 30.0, 90.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        model=st.sampled_from(MODELS),
        principal=st.sampled_from(PRINCIPALS),
        priority=st.sampled_from([0, 10, 100]),
        patience=st.none() | st.sampled_from([1.0, 45.0, 300.0]),
    )
    def push(self, model: str, principal: str, priority: int, patience: float | None) -> None:
        self.count += 1
        deadline = None if patience is None else self.now + patience
        if self.queue.paused or len(self.queue) >= self.policy.max_size:
            with pytest.raises(QueuePaused if self.queue.paused else QueueFull) as refused:
                self.queue.push(self.count, model=model, principal=principal, priority=priority, now=self.now)
            assert 1.0 <= (refused.value.retry_after or 0) <= 300.0
            return
        place = self.queue.push(
            self.count, model=model, principal=principal, priority=priority, now=self.now, deadline=deadline
        )
        self.waiting[self.count] = Waiting(self.count, model, principal, priority, self.now, deadline)
        self.events += 1
        self.turns.setdefault(principal, self.events)
        assert 1 <= place <= self.queue.waiting(model)

    @rule(ready=st.sets(st.sampled_from(MODELS)), listed=st.booleans())
    def pop(self, ready: set[str], listed: bool) -> None:
        ticket = self.queue.pop(sorted(ready) if listed else ready.__contains__, self.now)
        if self.queue.paused:
            assert ticket is None
            return
        self.lapse()
        able = [one for one in self.waiting.values() if one.model in ready]
        if not able:
            assert ticket is None
            return
        assert ticket is not None, "somebody could be served"
        served = self.waiting[ticket]
        assert served in able, "nobody late, and nobody whose model has no room"
        self.check_order(served, able)
        self.events += 1
        self.turns[served.principal] = self.events
        self.forget(ticket)

    def check_order(self, served: Waiting, able: list[Waiting]) -> None:
        top = max(one.priority for one in able)
        of_top = [one for one in able if one.priority == top]
        reached = max(self.level(one) for one in of_top)
        highest = max(self.level(one) for one in able)
        if served.priority == top:
            assert highest == reached, "a lower class has risen above, and was passed over"
            turn = self.turns[served.principal]
            assert turn == min(self.turns[one.principal] for one in of_top), "it was another principal's turn"
        else:
            assert self.level(served) == highest >= reached, "a lower class overtakes only when it has risen"
        own = [one for one in able if (one.principal, one.priority) == (served.principal, served.priority)]
        assert served.ticket == min(one.ticket for one in own), "one principal's requests keep their order"

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.queue.remove(ticket)
        assert not self.queue.remove(ticket)
        self.forget(ticket)

    @rule()
    def expire(self) -> None:
        self.lapse()
        assert set(self.queue.expire(self.now)) == self.overdue
        self.overdue.clear()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        if paused:
            self.queue.pause()
            with pytest.raises(QueuePaused):
                self.queue.push(0, model="llama", principal="ada", priority=0, now=self.now)
        else:
            self.queue.resume()

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) <= self.policy.max_size
        shown = self.queue.snapshot(self.now)
        assert shown["current_size"] == len(self.queue) == sum(shown["by_model"].values())
        assert len(self.queue) == len(self.waiting)
        assert all(ticket in self.queue for ticket in self.waiting)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
