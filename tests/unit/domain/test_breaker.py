"""A breaker opens on what is the node's fault, lets few trials through, and tells why."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.domain.breaker import Breaker, BreakerPolicy, BreakerState, Transition
from orchestrator.domain.failure import Failure, FailureKind, classify_status, slow_first_token

NOW = 1_700_000_000.0
DOWN = Failure(FailureKind.STATUS, True, True, None, "HTTP 503: busy")
KEY_REFUSED = Failure(FailureKind.AUTH, True, True, None, "HTTP 401: bad key")
CLIENT = classify_status(404, '{"error":"model not found"}')
EXACT = BreakerPolicy(adaptive=False, open_time=10.0)


def opened(policy: BreakerPolicy = EXACT, at: float = NOW) -> Breaker:
    breaker = Breaker("a", "llama3:latest", policy)
    for _ in range(policy.threshold):
        breaker.failure(at, DOWN)
    assert breaker.state is BreakerState.OPEN
    return breaker


def recovered_once(breaker: Breaker, at: float) -> None:
    for _ in range(breaker.policy.recovery_successes):
        admission = breaker.allow(at)
        assert admission
        breaker.success(at, admission)


def test_failures_in_a_row_open_it_and_nothing_passes_until_the_open_time_is_over() -> None:
    breaker = opened()
    assert not breaker.allow(NOW + 9.9)
    assert not breaker.ready(NOW + 9.9)
    assert breaker.time_left(NOW + 4) == 6.0
    assert breaker.snapshot(NOW)["blocked_request_count"] == 1
    assert breaker.reason == "5 failures in a row: HTTP 503: busy"
    assert breaker.ready(NOW + 10)
    assert breaker.allow(NOW + 10)
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker("a", policy=EXACT)
    for _ in range(4):
        breaker.failure(NOW, DOWN)
    breaker.success(NOW)
    for _ in range(4):
        breaker.failure(NOW, DOWN)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(("failure", "needed"), [(KEY_REFUSED, 3), (DOWN, 7), (slow_first_token(9, 3), 7)])
def test_lasting_faults_open_it_sooner_and_passing_ones_later(failure: Failure, needed: int) -> None:
    breaker = Breaker("a")
    for _ in range(needed - 1):
        breaker.failure(NOW, failure)
    assert breaker.ready(NOW)
    breaker.failure(NOW, failure)
    assert breaker.state is BreakerState.OPEN


def test_the_error_rate_of_the_last_minute_opens_it_without_a_row() -> None:
    breaker = Breaker("a", policy=EXACT)
    for step in range(20):
        breaker.failure(NOW + step, DOWN)
        breaker.failure(NOW + step, DOWN)
        breaker.success(NOW + step)
        if not breaker.ready(NOW + step):
            break
    assert breaker.state is BreakerState.OPEN
    assert "requests failed within 60 s" in breaker.reason
    assert breaker.snapshot(NOW)["window_requests"] >= 10


def test_failures_older_than_the_window_do_not_count_in_the_rate() -> None:
    breaker = Breaker("a", policy=EXACT)
    for step in range(40):
        at = NOW + step * 20  # three of each within a minute: too few to judge
        breaker.failure(at, DOWN)
        breaker.failure(at, DOWN)
        breaker.success(at)
    assert breaker.state is BreakerState.CLOSED


def test_a_clients_own_error_never_counts() -> None:
    breaker = Breaker("a", policy=EXACT)
    for _ in range(100):
        breaker.failure(NOW, CLIENT)
    assert breaker.state is BreakerState.CLOSED
    snapshot = breaker.snapshot(NOW)
    assert snapshot["failure_count"] == snapshot["total_request_count"] == 0
    half_open = opened()
    admission = half_open.allow(NOW + 10)
    half_open.failure(NOW + 10, CLIENT, admission)
    assert half_open.state is BreakerState.HALF_OPEN
    assert half_open.allow(NOW + 10), "the trial's place is free again"


def test_half_open_lets_one_trial_in_at_a_time_and_closes_after_three() -> None:
    breaker = opened()
    first = breaker.allow(NOW + 10)
    assert first
    assert not breaker.allow(NOW + 10)
    breaker.success(NOW + 11, first)
    for _ in range(2):
        assert breaker.state is BreakerState.HALF_OPEN
        breaker.success(NOW + 12, breaker.allow(NOW + 12))
    assert breaker.state is BreakerState.CLOSED
    assert breaker.snapshot(NOW + 12)["failure_count"] == 0


def test_one_failed_trial_opens_it_again_for_twice_as_long_up_to_the_limit() -> None:
    breaker = opened()
    now, waits = NOW, []
    for _ in range(7):
        now += breaker.time_left(now) or 0.0
        breaker.failure(now, DOWN, breaker.allow(now))
        waits.append(breaker.time_left(now))
    assert waits == [20, 40, 80, 160, 300, 300, 300]
    now += 300
    recovered_once(breaker, now)
    for _ in range(5):
        breaker.failure(now, DOWN)
    assert breaker.time_left(now) == 10.0, "a recovery starts the open times anew"


def test_jitter_spreads_the_open_time() -> None:
    def left(rand: float) -> float | None:
        breaker = Breaker("a", policy=EXACT)
        for _ in range(5):
            breaker.failure(NOW, DOWN, rand=rand)
        return breaker.time_left(NOW)

    assert left(0.0) == 8.0
    assert 11.9 < (left(0.999) or 0) < 12.0


def test_retry_after_is_honoured() -> None:
    breaker = Breaker("a", policy=EXACT)
    breaker.failure(NOW, classify_status(429, "slow down", retry_after="42"))
    assert breaker.state is BreakerState.OPEN
    assert breaker.time_left(NOW) == 42.0
    breaker = Breaker("a", policy=EXACT)
    breaker.failure(NOW, classify_status(429, "slow down", retry_after="999999"))
    assert breaker.time_left(NOW) == 3600.0
    breaker = Breaker("a", policy=EXACT)
    for _ in range(5):
        breaker.failure(NOW, classify_status(503, retry_after="60"))
    assert breaker.time_left(NOW) == 60.0


def test_a_verdict_on_a_request_from_before_is_no_trials_verdict() -> None:
    breaker = Breaker("a", policy=EXACT)
    old = [breaker.allow(NOW) for _ in range(10)]
    for admission in old[:5]:
        breaker.failure(NOW, DOWN, admission)
    trial = breaker.allow(NOW + 10)
    assert trial
    for admission in old[5:9]:
        breaker.success(NOW + 11, admission)
    breaker.failure(NOW + 11, DOWN, old[9])
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allow(NOW + 11), "the real trial is still under way"


def test_a_trial_without_a_verdict_is_given_up_in_the_end() -> None:
    breaker = opened()
    lost = breaker.allow(NOW + 10)
    assert not breaker.allow(NOW + 309)
    later = breaker.allow(NOW + 310)
    assert later
    breaker.success(NOW + 311, lost)
    assert not breaker.allow(NOW + 311)


def test_tick_moves_with_time_alone() -> None:
    breaker = opened()
    assert breaker.tick(NOW + 9) is None
    moved = breaker.tick(NOW + 10)
    assert moved == Transition(NOW + 10, BreakerState.OPEN, BreakerState.HALF_OPEN, "the open time is over")
    assert breaker.tick(NOW + 11) is None


def test_a_clock_set_back_does_not_prolong_the_open_time() -> None:
    breaker = opened()
    breaker.tick(NOW - 3600)
    assert breaker.time_left(NOW - 3600) == 10.0
    assert breaker.ready(NOW - 3590)


def test_an_operators_word() -> None:
    breaker = Breaker("a", policy=EXACT)
    breaker.force(BreakerState.OPEN, NOW, reason="by ada")
    assert breaker.time_left(NOW + 1e6) is None
    assert not breaker.allow(NOW + 1e6)
    assert breaker.snapshot(NOW)["forced"] is True
    breaker.force(BreakerState.OPEN, NOW, seconds=30)
    assert breaker.ready(NOW + 30)
    assert breaker.forced is False
    breaker.force(BreakerState.CLOSED, NOW + 31)
    assert breaker.allow(NOW + 31)
    breaker.force(BreakerState.HALF_OPEN, NOW + 32)
    trial = breaker.allow(NOW + 32)
    assert trial
    assert not breaker.allow(NOW + 32)
    assert breaker.reset(NOW + 33) == 1
    assert breaker.state is BreakerState.CLOSED
    assert breaker.snapshot(NOW + 33)["total_request_count"] == 0


def test_every_change_of_state_is_told_once_and_the_last_fifty_are_kept() -> None:
    heard: list[tuple[str, Transition]] = []
    breaker = Breaker("a", "m", EXACT, lambda which, transition: heard.append((which.key, transition)))
    for step in range(40):
        breaker.force(BreakerState.OPEN, NOW + step)
        breaker.force(BreakerState.CLOSED, NOW + step)
    breaker.reset(NOW + 41)
    assert len(heard) == 80, "closing what is closed is no change"
    assert {key for key, _ in heard} == {"a:m"}
    assert breaker.history == tuple(transition for _, transition in heard[-50:])


def test_state_survives_a_restart() -> None:
    breaker = opened()
    breaker.failure(NOW + 10, DOWN, breaker.allow(NOW + 10))
    restored = Breaker("a", "llama3:latest", EXACT)
    restored.restore(breaker.record())
    assert restored.record() == breaker.record()
    assert restored.time_left(NOW + 10) == 20.0
    restored.failure(NOW + 30, DOWN, restored.allow(NOW + 30))
    assert restored.time_left(NOW + 30) == 40.0, "the escalation goes on"


def test_a_restored_open_state_without_end_is_kept_only_when_an_operator_forced_it() -> None:
    breaker = Breaker("a")
    breaker.force(BreakerState.OPEN, NOW)
    record = breaker.record()
    breaker.restore(record)
    assert not breaker.allow(NOW + 1e9)
    breaker.restore(dataclasses.replace(record, forced=False))
    assert breaker.allow(NOW + 1)


def test_snapshot_has_what_the_fleet_contract_lists() -> None:
    breaker = Breaker("a", "m", EXACT)
    for _ in range(3):
        breaker.success(NOW)
    breaker.failure(NOW + 1, DOWN)
    shown = breaker.snapshot(NOW + 1)
    assert shown["node"] == "a"
    assert shown["model"] == "m"
    assert shown["state"] == "closed"
    assert shown["error_rate"] == 0.25
    assert shown["total_request_count"] == 4
    assert shown["last_success"] == NOW
    assert shown["last_failure"] == NOW + 1
    assert shown["last_failure_reason"] == "HTTP 503: busy"
    assert shown["last_error_type"] == "retryable"
    assert shown["error_counts"] == {
        "retryable": 1,
        "non-retryable": 0,
        "transient": 0,
        "permanent": 0,
        "rateLimited": 0,
    }
    assert shown["next_retry_at"] == shown["half_open_attempts"] == shown["active_tests_in_progress"] == 0


def test_new_rules_hold_at_once() -> None:
    breaker = Breaker("a", policy=EXACT)
    for _ in range(3):
        breaker.failure(NOW, DOWN)
    breaker.adopt(BreakerPolicy(adaptive=False, threshold=4, window=30, open_time=1))
    breaker.failure(NOW, DOWN)
    assert breaker.state is BreakerState.OPEN
    assert breaker.time_left(NOW) == 1.0
