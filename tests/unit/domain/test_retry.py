"""Retries are spread out, and never become a storm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.retry import RetryBudget, RetryPolicy


def test_pauses_grow_to_their_limit_with_full_jitter() -> None:
    policy = RetryPolicy(base_delay=0.5, multiplier=2.0, max_delay=5.0)
    assert [policy.delay(attempts, 1.0) for attempts in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert policy.delay(3, 0.0) == 0.0
    assert policy.delay(3, 0.25) == 0.5
    assert RetryPolicy(base_delay=0.0).delay(5, 0.9) == 0.0


def test_attempts_are_limited() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [policy.may_retry(attempts) for attempts in (1, 2, 3)] == [True, True, False]


def test_a_quiet_fleet_may_retry() -> None:
    budget = RetryBudget(ratio=0.0, min_per_second=1.0, window=10.0)
    assert [budget.may_retry(100.0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.refused == 1
    assert budget.may_retry(111.0)


def test_the_budget_follows_the_traffic_of_the_window() -> None:
    budget = RetryBudget(ratio=0.2, min_per_second=0.0, window=10.0)
    for _ in range(100):
        budget.request(50.0)
    assert sum(budget.may_retry(51.0) for _ in range(100)) == 20
    assert not budget.may_retry(59.0)
    budget.request(70.0)
    assert not budget.may_retry(70.0), "one request earns a fifth of a retry"
    budget.resize(1.0, 0.0)
    assert budget.may_retry(70.0)


def test_a_clock_set_back_starts_the_window_anew() -> None:
    budget = RetryBudget(ratio=1.0, min_per_second=0.0)
    budget.request(1000.0)
    assert not budget.may_retry(10.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200), st.floats(0, 1), st.floats(0, 3))
def test_never_more_retries_than_the_budget(steps: list[tuple[float, bool]], ratio: float, least: float) -> None:
    budget = RetryBudget(ratio, least, window=10.0)
    now, requests, retries = 100.0, [], []
    for wait, retry in steps:
        now += wait
        if retry:
            if budget.may_retry(now):
                retries.append(now)
        else:
            budget.request(now)
            requests.append(now)
        within = [at for at in retries if at > now - 9.0]
        heard = [at for at in requests if at > now - 20.0]
        assert len(within) <= max(len(heard) * ratio, least * 10.0)
