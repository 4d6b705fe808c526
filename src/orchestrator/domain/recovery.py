"""How a node comes back, or does not: attempts at recovery and changes of its breakers, and what they tell.

Pure sums over the records that are kept (`services.fleet.recovery`), oldest first. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from orchestrator.domain.breaker_policy import BreakerState

PERSISTENT = 5  # failures in a row
# The fleet contract's rule (3.5): so many records within this time, with so many changes between good and bad.
FLAPPING_RECORDS, FLAPPING_SECONDS, FLAPPING_CHANGES = 5, 600.0, 4
TREND_RECORDS, TREND_STEP = 4, 0.2
HALF_CERTAIN = 5  # records after which an analysis is as likely right as not
PROBABLE_TESTS = 20  # the last tests that a probability is of


class Source(StrEnum):
    """What an attempt was."""

    HEALTH_CHECK = "health_check"  # a probe of a node that was down
    RECOVERY_TEST = "recovery_test"  # a test that this service made of a half-open breaker
    TRIAL_REQUEST = "trial_request"  # a client's request, let in by a half-open breaker, that decided


class AttemptOutcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"  # says nothing of the node


class Pattern(StrEnum):
    STABLE = "stable"
    DEGRADING = "degrading"
    FLAPPING = "flapping"
    PERSISTENT = "persistent"


class Trend(StrEnum):
    IMPROVING = "improving"
    STABLE = "stable"
    WORSENING = "worsening"


@dataclass(frozen=True, slots=True)
class RecoveryAttempt:
    """`model` empty: the node. `number` counts a node's attempts, `failures` those that failed in a row, this one
    included. `seconds` None: nothing was timed."""

    at: float
    node: str
    model: str
    source: Source
    outcome: AttemptOutcome
    breaker: BreakerState
    number: int
    failures: int = 0
    error: str = ""
    error_type: str = ""
    seconds: float | None = None

    @property
    def failed(self) -> bool:
        return self.outcome in (AttemptOutcome.FAILURE, AttemptOutcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker of a node, its own or one of its models', became another state."""

    at: float
    node: str
    model: str
    previous: BreakerState
    state: BreakerState
    reason: str


@dataclass(frozen=True, slots=True)
class RecoveryStats:
    """Of the attempts that are kept. Times None: never."""

    attempts: int
    successes: int
    failures: int
    failures_in_a_row: int
    last_attempt: float | None
    last_success: float | None
    first_failure: float | None
    last_error: str
    time_between_failures: float | None  # mean, in seconds
    pattern: Pattern

    @property
    def failure_rate(self) -> float:
        return self.failures / self.attempts if self.attempts else 0.0


@dataclass(frozen=True, slots=True)
class RecoveryAnalysis:
    """`confidence` grows from 0 to 1 with the number of records. `next_failure` None: nothing tells of one."""

    pattern: Pattern
    trend: Trend
    confidence: float
    next_failure: float | None
    recommendations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakerImpact:
    """`open_to_closed` is the number of openings for each recovery; without a recovery, the number of openings.
    `open_seconds` is the mean time from opening to the next change."""

    changes: int
    openings: int
    open_to_closed: float
    open_seconds: float
    models: int  # whose breakers opened
    last: BreakerChange | None
    last_opening: BreakerChange | None
    recommendations: tuple[str, ...]

    @property
    def impacted(self) -> bool:
        return self.openings > 0


def error_type(error: str) -> str:
    """timeout, connection_refused, http_error, model_not_found or unknown (fleet contract 1.5), from an error's text.
    What is no answer at all counts as connection_refused."""
    text = error.lower()
    if "model" in text and "not found" in text:
        return "model_not_found"
    if "timeout" in text or "timed out" in text or "no answer" in text or "within" in text:
        return "timeout"
    if "http " in text or "status" in text or "answered" in text:
        return "http_error"
    if any(word in text for word in ("refused", "connect", "reach", "reset", "closed")):
        return "connection_refused"
    return "unknown"


def stats(attempts: Sequence[RecoveryAttempt], now: float) -> RecoveryStats:
    told = [one for one in attempts if one.outcome is not AttemptOutcome.CANCELLED]
    failed = [one for one in told if one.failed]
    passed = [one for one in told if not one.failed]
    return RecoveryStats(
        attempts=len(told),
        successes=len(passed),
        failures=len(failed),
        failures_in_a_row=told[-1].failures if told else 0,
        last_attempt=told[-1].at if told else None,
        last_success=passed[-1].at if passed else None,
        first_failure=failed[0].at if failed else None,
        last_error=failed[-1].error if failed else "",
        time_between_failures=_gap(failed),
        pattern=pattern(told, now),
    )


def pattern(attempts: Sequence[RecoveryAttempt], now: float) -> Pattern:
    """persistent: so many failures in a row that only a person will help. flapping: good and bad in turn. degrading:
    failing now, or more often than before. Else stable."""
    told = [one for one in attempts if one.outcome is not AttemptOutcome.CANCELLED]
    if not told:
        return Pattern.STABLE
    if told[-1].failures >= PERSISTENT:
        return Pattern.PERSISTENT
    recent = [one for one in told if now - one.at <= FLAPPING_SECONDS]
    turns = sum(one.failed != other.failed for one, other in pairwise(recent))
    if len(recent) >= FLAPPING_RECORDS and turns >= FLAPPING_CHANGES:
        return Pattern.FLAPPING
    if told[-1].failed or trend(told) is Trend.WORSENING:
        return Pattern.DEGRADING
    return Pattern.STABLE


def trend(attempts: Sequence[RecoveryAttempt]) -> Trend:
    """The failure rate of the newer half against that of the older."""
    told = [one.failed for one in attempts if one.outcome is not AttemptOutcome.CANCELLED]
    if len(told) < TREND_RECORDS:
        return Trend.STABLE
    half = len(told) // 2
    older, newer = sum(told[:half]) / half, sum(told[half:]) / (len(told) - half)
    if newer - older > TREND_STEP:
        return Trend.WORSENING
    return Trend.IMPROVING if older - newer > TREND_STEP else Trend.STABLE


def analyse(attempts: Sequence[RecoveryAttempt], now: float, window: float) -> RecoveryAnalysis:
    """What the attempts of the last `window` seconds tell."""
    recent = [one for one in attempts if now - one.at <= window and one.outcome is not AttemptOutcome.CANCELLED]
    failed = [one for one in recent if one.failed]
    seen, gap = pattern(recent, now), _gap(failed)
    next_failure = failed[-1].at + gap if gap is not None and seen is not Pattern.STABLE else None
    if next_failure is not None and next_failure <= now:
        next_failure = None
    return RecoveryAnalysis(
        pattern=seen,
        trend=trend(recent),
        confidence=round(len(recent) / (len(recent) + HALF_CERTAIN), 2),
        next_failure=next_failure,
        recommendations=_advice(seen, failed),
    )


def impact(changes: Sequence[BreakerChange]) -> BreakerImpact:
    """What its breakers cost a node."""
    opened = [one for one in changes if one.state is BreakerState.OPEN]
    closed = sum(one.state is BreakerState.CLOSED for one in changes)
    models = {one.model for one in opened if one.model}
    return BreakerImpact(
        changes=len(changes),
        openings=len(opened),
        open_to_closed=round(len(opened) / max(closed, 1), 2),
        open_seconds=_open_seconds(changes),
        models=len(models),
        last=changes[-1] if changes else None,
        last_opening=opened[-1] if opened else None,
        recommendations=_breaker_advice(len(opened), closed, sorted(models), {one.model for one in opened}),
    )


def probability(attempts: Iterable[RecoveryAttempt]) -> float | None:
    """The share of a breaker's last tests that passed; None without any."""
    told = [not one.failed for one in attempts if one.outcome is not AttemptOutcome.CANCELLED][-PROBABLE_TESTS:]
    return round(sum(told) / len(told), 2) if told else None


def _gap(failed: Sequence[RecoveryAttempt]) -> float | None:
    return (failed[-1].at - failed[0].at) / (len(failed) - 1) if len(failed) > 1 else None


def _open_seconds(changes: Sequence[BreakerChange]) -> float:
    since: dict[str, float] = {}
    spans: list[float] = []
    for one in changes:
        began = since.pop(one.model, None)
        if began is not None:
            spans.append(max(one.at - began, 0.0))
        if one.state is BreakerState.OPEN:
            since[one.model] = one.at
    return sum(spans) / len(spans) if spans else 0.0


_BY_PATTERN = {
    Pattern.PERSISTENT: "The server does not come back by itself: look at it, or put it into maintenance.",
    Pattern.FLAPPING: "The server comes and goes: look at its network and memory before it gets more traffic.",
    Pattern.DEGRADING: "The server fails more often than before: watch it.",
}
_BY_ERROR = {
    "timeout": "It answers too late: see whether it is overloaded, or raise health_check.timeout.",
    "connection_refused": "Nothing listens at its URL, or the network is down: see whether the model server runs.",
    "http_error": "It answers with errors: its own log says why.",
    "model_not_found": "It lacks a model that it was asked for: pull the model again.",
}


def _advice(seen: Pattern, failed: Sequence[RecoveryAttempt]) -> tuple[str, ...]:
    said = [_BY_PATTERN[seen]] if seen in _BY_PATTERN else []
    if failed and seen is not Pattern.STABLE:
        common = Counter(one.error_type for one in failed).most_common(1)[0][0]
        said += [_BY_ERROR[common]] if common in _BY_ERROR else []
    return tuple(said)


def _breaker_advice(openings: int, closings: int, models: Sequence[str], keys: set[str]) -> tuple[str, ...]:
    said: list[str] = []
    if openings and not closings:
        said.append("No breaker of this server has recovered yet: find the cause before you close one by hand.")
    elif openings > 2 * max(closings, 1):
        said.append("Its breakers open much more often than they recover.")
    if models and "" not in keys:
        said.append(f"Only models fail, the server does not: look at {', '.join(models[:5])}.")
    return tuple(said)
