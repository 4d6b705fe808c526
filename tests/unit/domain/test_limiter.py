"""A principal's own limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.limiter import ConcurrencyCap, RateLimit, RateLimiter


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    limiter = RateLimiter()
    limit = RateLimit(60, 60.0, burst=3)
    verdicts = [limiter.take("k", limit, 100.0) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert [verdict.limit for verdict in verdicts] == [3] * 5
    assert verdicts[2].reset == pytest.approx(3.0)
    assert verdicts[3].retry_after == pytest.approx(1.0)
    assert not limiter.take("k", limit, 100.9).allowed
    assert limiter.take("k", limit, 101.0).allowed
    assert limiter.take("other", limit, 100.0).remaining == 2


def test_without_a_burst_the_whole_capacity_may_come_at_once() -> None:
    limiter = RateLimiter()
    limit = RateLimit(50, 300.0)
    assert sum(limiter.take("k", limit, 0.0).allowed for _ in range(51)) == 50
    assert limiter.take("k", limit, 0.0).retry_after == pytest.approx(6.0)


def test_a_cost_counts_as_that_many_requests() -> None:
    limiter = RateLimiter()
    limit = RateLimit(10, 10.0)
    assert limiter.take("k", limit, 0.0, cost=8).remaining == 2
    assert not limiter.take("k", limit, 0.0, cost=3).allowed
    assert limiter.take("k", limit, 0.0, cost=2).allowed
    assert not limiter.take("k", limit, 0.0, cost=11).allowed


def test_a_limit_of_nothing_lets_nothing_pass() -> None:
    verdict = RateLimiter().take("k", RateLimit(0), 0.0)
    assert not verdict.allowed
    assert verdict.retry_after == 60.0


def test_the_map_is_bounded_and_forgets_those_with_full_capacity_first() -> None:
    limiter = RateLimiter(max_keys=100)
    limit = RateLimit(1, 1000.0)
    assert limiter.take("busy", limit, 0.0).allowed
    quick = RateLimit(1000, 1.0)
    for number in range(1000):
        limiter.take(f"k{number}", quick, number * 0.01)
        assert len(limiter) <= 100
    assert not limiter.take("busy", limit, 10.0).allowed
    for number in range(1000):
        limiter.take(f"b{number}", limit, 20.0)
        assert len(limiter) <= 100
    limiter.forget("b999")
    assert limiter.take("b999", limit, 20.0).allowed


@given(
    st.integers(1, 20), st.floats(0.5, 100), st.integers(1, 10), st.lists(st.floats(0, 20), min_size=1, max_size=100)
)
def test_never_more_than_burst_plus_rate_in_any_span(
    requests: int, seconds: float, burst: int, waits: list[float]
) -> None:
    limiter, limit = RateLimiter(), RateLimit(requests, seconds, burst)
    now, passed = 1000.0, []
    for wait in waits:
        now += wait
        verdict = limiter.take("k", limit, now)
        if verdict.allowed:
            passed.append(now)
        else:
            later = now + (verdict.retry_after or 0) + 1e-6
            assert RateLimiter.take(limiter, "k", limit, later).allowed
            passed.append(later)
            now = later
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            span = passed[last] - start
            assert last - first + 1 <= burst + span * requests / seconds + 1e-3


def test_concurrency_is_capped_and_ends_at_nothing() -> None:
    cap = ConcurrencyCap()
    assert [cap.acquire("k", 2) for _ in range(3)] == [True, True, False]
    assert cap.acquire("k", None)
    assert cap.acquire("other", 1)
    for _ in range(3):
        cap.release("k")
    assert cap.running("k") == 0
    cap.release("k")
    assert cap.running("k") == 0
    assert cap.running("other") == 1


def test_what_is_spent_elsewhere_counts_as_if_it_was_spent_here() -> None:
    here, there, limit = RateLimiter(), RateLimiter(), RateLimit(4, 60.0)
    there.tell_spent()
    for _ in range(3):
        assert there.take("k", limit, 100.0).allowed
    spent = there.take_spent()
    assert spent == {"k": 45.0}
    assert there.take_spent() == {}
    here.spend("k", spent["k"], 100.0)
    assert here.take("k", limit, 100.0).remaining == 0
    assert not here.take("k", limit, 100.0).allowed
    assert here.take("other", limit, 100.0).remaining == 3
    assert here.take("k", limit, 115.0).allowed


def test_a_refused_request_spends_nothing() -> None:
    limiter, limit = RateLimiter(), RateLimit(1, 60.0)
    limiter.tell_spent()
    assert limiter.take("k", limit, 0.0).allowed
    assert not limiter.take("k", limit, 0.0).allowed
    assert limiter.take_spent() == {"k": 60.0}


def test_spending_elsewhere_keeps_the_map_small() -> None:
    limiter = RateLimiter(max_keys=100)
    for number in range(1_000):
        limiter.spend(f"k{number}", 5.0, 0.0)
    assert len(limiter) <= 100
