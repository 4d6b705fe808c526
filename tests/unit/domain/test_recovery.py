"""What attempts at recovery and changes of breakers tell."""

from __future__ import annotations

import pytest

from orchestrator.domain import recovery
from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.recovery import (
    AttemptOutcome,
    BreakerChange,
    Pattern,
    RecoveryAttempt,
    Source,
    Trend,
)

NOW = 10_000.0
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def attempts(results: str, *, every: float = 10.0, last: float = NOW) -> list[RecoveryAttempt]:
    """`+` passed, `-` failed, `c` was cancelled; the last one at `last`."""
    found, failures = [], 0
    for number, result in enumerate(results, 1):
        failures = 0 if result == "+" else failures + (result == "-")
        outcome = {"+": AttemptOutcome.SUCCESS, "-": AttemptOutcome.FAILURE, "c": AttemptOutcome.CANCELLED}[result]
        error = "The node could not be reached: refused." if result == "-" else ""
        at = last - every * (len(results) - number)
        kind = recovery.error_type(error) if error else ""
        found.append(
            RecoveryAttempt(at, "a", "", Source.HEALTH_CHECK, outcome, OPEN, number, failures, error, kind, 0.1)
        )
    return found


def change(at: float, previous: BreakerState, state: BreakerState, model: str = "") -> BreakerChange:
    return BreakerChange(at, "a", model, previous, state, f"to {state}")


@pytest.mark.parametrize(
    ("results", "pattern"),
    [
        ("", Pattern.STABLE),
        ("+", Pattern.STABLE),
        ("++++", Pattern.STABLE),
        ("cc", Pattern.STABLE),
        ("-", Pattern.DEGRADING),
        ("+++-", Pattern.DEGRADING),
        ("----", Pattern.DEGRADING),
        ("----+", Pattern.STABLE),
        ("-----", Pattern.PERSISTENT),
        ("-----c", Pattern.PERSISTENT),
        ("-----+", Pattern.STABLE),
        ("-+-+-", Pattern.FLAPPING),
        ("-+-+-+", Pattern.FLAPPING),
        ("++++--+", Pattern.DEGRADING),
    ],
)
def test_patterns(results: str, pattern: Pattern) -> None:
    assert recovery.pattern(attempts(results), NOW) is pattern


def test_what_was_long_ago_is_no_flapping() -> None:
    assert recovery.pattern(attempts("-+-+-+", last=NOW - 700), NOW) is Pattern.STABLE


@pytest.mark.parametrize(
    ("results", "trend"),
    [
        ("---", Trend.STABLE),
        ("--++", Trend.IMPROVING),
        ("++--", Trend.WORSENING),
        ("+-+-", Trend.STABLE),
        ("c++c--", Trend.WORSENING),
    ],
)
def test_trends(results: str, trend: Trend) -> None:
    assert recovery.trend(attempts(results)) is trend


def test_stats_count_what_says_something_of_the_node() -> None:
    stats = recovery.stats(attempts("+--c-"), NOW)
    assert (stats.attempts, stats.successes, stats.failures, stats.failures_in_a_row) == (4, 1, 3, 3)
    assert stats.failure_rate == 0.75
    assert (stats.last_attempt, stats.last_success, stats.first_failure) == (NOW, NOW - 40, NOW - 30)
    assert stats.time_between_failures == 15.0
    assert "refused" in stats.last_error
    nothing = recovery.stats([], NOW)
    assert (nothing.failure_rate, nothing.last_attempt, nothing.pattern) == (0.0, None, Pattern.STABLE)


def test_an_analysis_predicts_only_what_is_still_to_come() -> None:
    told = recovery.analyse(attempts("-----"), NOW, 3600)
    assert told.pattern is Pattern.PERSISTENT
    assert told.next_failure == NOW + 10
    assert told.confidence == 0.5
    assert len(told.recommendations) == 2
    assert "Nothing listens" in told.recommendations[1]
    assert recovery.analyse(attempts("-----", last=NOW - 100), NOW, 3600).next_failure is None
    assert recovery.analyse(attempts("-----+"), NOW, 3600).next_failure is None
    empty = recovery.analyse(attempts("-----", last=NOW - 100), NOW, 50)
    assert (empty.confidence, empty.recommendations) == (0.0, ())


def test_confidence_grows_with_the_records() -> None:
    found = [recovery.analyse(attempts("+" * count), NOW, 3600).confidence for count in (0, 1, 5, 20, 200)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] < 1


def test_impact_of_breakers() -> None:
    changes = [
        change(0, CLOSED, OPEN),
        change(10, OPEN, HALF_OPEN),
        change(11, CLOSED, OPEN, "llama3"),
        change(12, HALF_OPEN, CLOSED),
        change(41, OPEN, HALF_OPEN, "llama3"),
        change(42, HALF_OPEN, OPEN, "llama3"),
    ]
    told = recovery.impact(changes)
    assert told.impacted
    assert (told.changes, told.openings, told.open_to_closed, told.models) == (6, 3, 3.0, 1)
    assert told.open_seconds == 20.0  # 10 s of its own, 30 s of the model's; the last is not over
    assert told.last is changes[-1]
    assert told.last_opening is changes[-1]
    assert told.recommendations
    nothing = recovery.impact([])
    assert (nothing.impacted, nothing.open_to_closed, nothing.last, nothing.recommendations) == (False, 0.0, None, ())


def test_a_node_of_which_only_models_fail() -> None:
    told = recovery.impact([change(0, CLOSED, OPEN, "llama3")])
    assert any("llama3" in one for one in told.recommendations)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("No answer within 5 s.", "timeout"),
        ("The node could not be reached: Connection refused.", "connection_refused"),
        ("HTTP 503: busy", "http_error"),
        ("GET /api/tags answered 500.", "http_error"),
        ("HTTP 404: model 'x' not found", "model_not_found"),
        ("GET /api/tags is not Ollama's list.", "unknown"),
    ],
)
def test_error_types(error: str, kind: str) -> None:
    assert recovery.error_type(error) == kind


def test_probability_is_of_the_last_tests() -> None:
    assert recovery.probability(attempts("")) is None
    assert recovery.probability(attempts("c")) is None
    assert recovery.probability(attempts("+-c")) == 0.5
    assert recovery.probability(attempts("-" * 50 + "+" * 20)) == 1.0
