"""Any order of requests, verdicts, words and time keeps a breaker's promises."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain.breaker import Breaker, BreakerPolicy, BreakerState, Transition
from orchestrator.domain.failure import Failure, FailureKind

FAILURES = [
    Failure(FailureKind.STATUS, True, True, None, "HTTP 500"),
    Failure(FailureKind.AUTH, True, True, None, "HTTP 401"),
    Failure(FailureKind.RATE_LIMITED, True, True, 7.0, "HTTP 429"),
    Failure(FailureKind.CLIENT, False, False, None, "HTTP 400"),
]


class BreakerMachine(RuleBasedStateMachine):
    @initialize(trials=st.integers(1, 3), successes=st.integers(1, 4), adaptive=st.booleans())
    def start(self, trials: int, successes: int, adaptive: bool) -> None:
        self.now = 1_700_000_000.0
        self.changes: list[Transition] = []
        self.policy = BreakerPolicy(
            adaptive=adaptive, half_open_requests=trials, recovery_successes=successes, half_open_time=50.0
        )
        self.breaker = Breaker("a", "m", self.policy, lambda _, change: self.changes.append(change))
        self.admitted: list[int] = []

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        could = self.breaker.ready(self.now)
        admission = self.breaker.allow(self.now)
        assert bool(admission) == could
        if admission:
            self.admitted.append(admission)

    @precondition(lambda self: self.admitted)
    @rule(data=st.data(), verdict=st.sampled_from(["success", "release", *FAILURES]), rand=st.floats(0, 0.999))
    def finish(self, data: st.DataObject, verdict: str | Failure, rand: float) -> None:
        index = data.draw(st.integers(0, len(self.admitted) - 1))
        admission = self.admitted.pop(index)
        if isinstance(verdict, Failure):
            self.breaker.failure(self.now, verdict, admission, rand)
        elif verdict == "success":
            self.breaker.success(self.now, admission)
        else:
            self.breaker.release(self.now, admission)

    @rule()
    def tick(self) -> None:
        before = len(self.changes)
        change = self.breaker.tick(self.now)
        assert self.changes[before:] == ([] if change is None else [change])

    @rule(state=st.sampled_from(list(BreakerState)), seconds=st.none() | st.floats(1, 60))
    def force(self, state: BreakerState, seconds: float | None) -> None:
        self.breaker.force(state, self.now, seconds)
        assert self.breaker.state is state

    @rule()
    def restart(self) -> None:
        record = self.breaker.record()
        self.breaker = Breaker("a", "m", self.policy, lambda _, change: self.changes.append(change))
        self.breaker.restore(record)
        assert self.breaker.record() == record
        self.changes.clear()
        self.admitted.clear()

    @invariant()
    def trials_are_capped(self) -> None:
        breaker = self.breaker
        under_way = [admission for admission in self.admitted if admission == breaker.generation]
        if breaker.state is BreakerState.HALF_OPEN:
            assert len(under_way) == breaker.trials <= self.policy.half_open_requests
        else:
            assert breaker.trials == 0
        if breaker.state is BreakerState.OPEN:
            assert not under_way

    @invariant()
    def open_ends(self) -> None:
        breaker = self.breaker
        left = breaker.time_left(self.now)
        if breaker.state is not BreakerState.OPEN:
            assert left == 0.0
        elif left is None:
            assert breaker.forced
        else:
            assert 0.0 <= left <= self.policy.max_open_time

    @invariant()
    def history_is_a_chain(self) -> None:
        history = self.breaker.history
        assert len(history) <= 50
        for before, after in pairwise(history):
            assert before.state is after.previous
            assert before.at <= after.at
        if history:
            assert history[-1].state is self.breaker.state


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
