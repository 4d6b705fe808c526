"""A breaker keeps traffic from a node, or from one model on one node, that has shown that it fails.

closed: traffic flows and is counted. open: nothing passes until `open_until`. half_open: a few trial requests pass;
enough successes close the breaker, one failure opens it again for longer.

Every time here is in seconds since the epoch, because open times outlive a restart. A clock that is set back does not
prolong an open time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.domain.breaker_policy import BreakerPolicy, BreakerState, Transition
from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.breaker_window import BreakerWindow
from orchestrator.domain.failure import Failure, FailureKind

__all__ = ["Breaker", "BreakerPolicy", "BreakerRecord", "BreakerState", "Transition", "error_type"]

# The fleet contract's words for what failed (1.5, errorCounts).
_ERROR_TYPES = {
    FailureKind.AUTH: "non-retryable",
    FailureKind.RATE_LIMITED: "rateLimited",
    FailureKind.STATUS: "retryable",
    FailureKind.MALFORMED: "retryable",
}
_CLOSED, _OPEN, _HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
HISTORY = 50


def error_type(kind: FailureKind) -> str:
    """retryable, transient, rateLimited or non-retryable."""
    return _ERROR_TYPES.get(kind, "transient")


class Breaker:
    """One breaker. `model` empty: the whole node. `observe` hears of every change of state, whoever caused it.

    `allow` gives a pass, and for every pass exactly one of `success`, `failure` and `release` is due. Hand the pass
    back with it: a verdict on a request that was let in before the last change of state is then told from a trial's
    and moves nothing. Without a pass the verdict is taken as one on the present state.
    """

    __slots__ = (
        "_streak_lasting",
        "_trial_at",
        "_window",
        "blocked",
        "consecutive_failures",
        "consecutive_successes",
        "error_counts",
        "failure_total",
        "forced",
        "generation",
        "half_open_at",
        "history",
        "last_error_type",
        "last_failure_at",
        "last_failure_reason",
        "last_success_at",
        "model",
        "node",
        "observe",
        "open_count",
        "open_until",
        "opened_at",
        "policy",
        "reason",
        "state",
        "success_total",
        "trials",
        "trials_started",
    )

    def __init__(
        self,
        node: str,
        model: str = "",
        policy: BreakerPolicy | None = None,
        observe: Callable[[Breaker, Transition], None] | None = None,
    ) -> None:
        self.node = node
        self.model = model
        self.policy = policy or BreakerPolicy()
        self.observe = observe
        self.state: BreakerState = _CLOSED
        self.generation = 1
        self.forced = False
        self.reason = ""
        self.opened_at = 0.0
        self.open_until: float | None = None
        self.open_count = 0
        self.half_open_at = 0.0
        self.history: tuple[Transition, ...] = ()
        self.last_failure_at = 0.0
        self.last_success_at = 0.0
        self._trial_at = 0.0
        self._clear()

    def _clear(self) -> None:
        self._window = BreakerWindow(self.policy.window)
        self._streak_lasting = 0
        self.last_error_type = ""
        self.last_failure_reason = ""
        self.consecutive_failures = 0
        self.consecutive_successes = 0
        self.success_total = 0
        self.failure_total = 0
        self.blocked = 0
        self.trials = 0
        self.trials_started = 0
        self.error_counts: dict[str, int] = {}

    @property
    def key(self) -> str:
        return f"{self.node}:{self.model}" if self.model else self.node

    def allow(self, now: float) -> int:
        """Lets one request in, or not: a pass (never 0) or 0. A half-open breaker lets `half_open_requests` in at a
        time. Where a node's and a model's breaker both have a say and the second says no, `release` the first."""
        if self.state is _CLOSED:
            return self.generation
        if self._trial_free(now):
            self.trials += 1
            self.trials_started += 1
            self._trial_at = now
            return self.generation
        self.blocked += 1
        return 0

    def ready(self, now: float) -> bool:
        """Whether `allow` would let a request in now. Takes no trial."""
        return self.state is _CLOSED or self._trial_free(now)

    def success(self, now: float, admission: int | None = None) -> None:
        """The request was answered in full."""
        self.last_success_at = now
        self.success_total += 1
        if admission is not None and admission != self.generation:
            return
        if self.state is _CLOSED:
            self.consecutive_failures = 0
            self._streak_lasting = 0
            self.consecutive_successes += 1
            self._window.success(now)
        elif self.state is _HALF_OPEN:
            self._end_trial()
            self.consecutive_successes += 1
            if self.consecutive_successes >= self.policy.recovery_successes:
                self._close(now, f"{self.consecutive_successes} trial requests succeeded")

    def failure(self, now: float, failure: Failure, admission: int | None = None, rand: float = 0.5) -> None:
        """The node failed. A client's own error is no verdict. `rand` in [0, 1) spreads the open time by +-20 %."""
        if not failure.counts_for_breaker:
            self.release(now, admission)
            return
        self.last_failure_at = now
        self.last_failure_reason = failure.reason or failure.kind.value
        self.last_error_type = kind = error_type(failure.kind)
        self.failure_total += 1
        self.error_counts[kind] = self.error_counts.get(kind, 0) + 1
        if self.state is _OPEN or (admission is not None and admission != self.generation):
            return
        self.consecutive_successes = 0
        self.consecutive_failures += 1
        if self.state is _HALF_OPEN:
            self._end_trial()
            self._open(now, failure, rand, "a trial request failed")
            return
        self._streak_lasting += kind == "non-retryable"
        self._window.failure(now)
        cause = self._cause(failure)
        if cause:
            self._open(now, failure, rand, cause)

    def release(self, now: float, admission: int | None = None) -> None:
        """The request ended without a verdict on the node: the client left, or the fault was the client's."""
        if self.state is _HALF_OPEN and (admission is None or admission == self.generation):
            self._end_trial()

    def tick(self, now: float) -> Transition | None:
        """Moves with time alone: an open time that is over, a trial that was given up. Call it about once a second."""
        before = self.generation
        if self.state is not _CLOSED:
            self._follow(now)
        return self.history[-1] if self.generation != before else None

    def force(self, state: BreakerState, now: float, seconds: float | None = None, reason: str = "forced") -> None:
        """An operator's word. Open lasts for `seconds`, or until the next word; the others go their usual way."""
        if state is _CLOSED:
            self._close(now, reason)
        elif state is _OPEN:
            self.opened_at = now
            self.open_until = None if seconds is None else now + seconds
            self._become(_OPEN, now, reason, forced=True)
        else:
            self._half_open(now, reason, forced=True)

    def reset(self, now: float, reason: str = "reset") -> int:
        """Closes and forgets every count. Returns how many trials were under way."""
        cancelled = self.trials
        self._close(now, reason)
        self._clear()
        return cancelled

    def adopt(self, policy: BreakerPolicy) -> None:
        """New rules for a running breaker; they hold from the next request on."""
        if policy.window != self.policy.window:
            self._window = BreakerWindow(policy.window)
        self.policy = policy

    def time_left(self, now: float) -> float | None:
        """Seconds until trial requests may pass: 0 unless open, None when only an operator will end it."""
        if self.state is not _OPEN:
            return 0.0
        return None if self.open_until is None else max(self.open_until - max(now, self.opened_at), 0.0)

    @property
    def idle_since(self) -> float:
        """When the last trial began, or the half-open state."""
        return max(self.half_open_at, self._trial_at)

    @property
    def threshold(self) -> int:
        """Failures in a row that open it: fewer of a lasting kind, more of a passing one (fleet contract 3.5)."""
        policy = self.policy
        count = self.consecutive_failures
        if not policy.adaptive or not count:
            return policy.threshold
        if self._streak_lasting * 2 > count:
            return max(policy.min_threshold, policy.threshold - policy.adjustment)
        passing = count - self._streak_lasting
        if self.last_error_type != "rateLimited" and passing > 0.7 * count:
            return min(policy.max_threshold, policy.threshold + policy.adjustment)
        return policy.threshold

    def snapshot(self, now: float) -> dict[str, Any]:
        """Everything to show (fleet contract 1.5). Times in seconds since the epoch, 0 = never."""
        self._window.advance(now)
        return {
            "node": self.node,
            "model": self.model,
            "state": self.state.value,
            "failure_count": self.consecutive_failures,
            "success_count": self.success_total,
            "total_request_count": self.success_total + self.failure_total,
            "blocked_request_count": self.blocked,
            "last_failure": self.last_failure_at,
            "last_success": self.last_success_at,
            "next_retry_at": (self.open_until or 0.0) if self.state is _OPEN else 0.0,
            "time_left": self.time_left(now),
            "error_rate": round(self._window.error_rate, 2),
            "window_requests": self._window.requests,
            "error_counts": {"retryable": 0, "non-retryable": 0, "transient": 0, "permanent": 0, "rateLimited": 0}
            | self.error_counts,
            "consecutive_successes": self.consecutive_successes,
            "threshold": self.threshold,
            "last_failure_reason": self.last_failure_reason,
            "last_error_type": self.last_error_type,
            "reason": self.reason,
            "forced": self.forced,
            "opened_at": self.opened_at,
            "open_count": self.open_count,
            "half_open_started_at": self.half_open_at if self.state is _HALF_OPEN else 0.0,
            "half_open_attempts": self.trials_started if self.state is _HALF_OPEN else 0,
            "active_tests_in_progress": self.trials,
        }

    def record(self) -> BreakerRecord:
        """What `restore` needs after a restart."""
        return BreakerRecord(
            node=self.node,
            model=self.model,
            state=self.state.value,
            failure_count=self.consecutive_failures,
            success_count=self.success_total,
            opened_at=self.opened_at,
            open_until=self.open_until,
            open_count=self.open_count,
            reason=self.reason,
            last_failure_at=self.last_failure_at,
            last_success_at=self.last_success_at,
            forced=self.forced,
        )

    def restore(self, record: BreakerRecord) -> None:
        """Takes over a stored state, silently. Trials of the last process are gone with it."""
        self.state = BreakerState(record.state)
        self.generation += 1
        self.consecutive_failures = record.failure_count
        self.success_total = record.success_count
        self.opened_at = record.opened_at
        self.open_until = record.open_until
        if self.state is _OPEN and record.open_until is None and not record.forced:
            self.open_until = self.opened_at  # only an operator's word has no end
        self.open_count = record.open_count
        self.reason = record.reason
        self.last_failure_at = record.last_failure_at
        self.last_success_at = record.last_success_at
        self.forced = record.forced
        self.trials = self.trials_started = 0

    # Inside

    def _trial_free(self, now: float) -> bool:
        self._follow(now)
        return self.state is _HALF_OPEN and self.trials < self.policy.half_open_requests

    def _follow(self, now: float) -> None:
        """Catches up with the clock."""
        if self.state is _OPEN:
            until = self.open_until
            if until is None:
                return
            if now < self.opened_at:  # the clock was set back
                until -= self.opened_at - now
                self.open_until = until
                self.opened_at = now
            if now >= until:
                self._half_open(now, "the open time is over")
        elif self.trials and now - self._trial_at >= self.policy.half_open_time:
            self._half_open(now, "a trial request got no verdict in time")

    def _cause(self, failure: Failure) -> str:
        """Why a closed breaker opens now; empty when it does not."""
        policy, window = self.policy, self._window
        if failure.kind is FailureKind.RATE_LIMITED and failure.retry_after and policy.max_retry_after:
            return "the node asked to be left alone"
        if self.consecutive_failures >= self.threshold:
            return f"{self.consecutive_failures} failures in a row"
        if window.requests >= policy.min_requests and window.error_rate > policy.error_rate:
            return f"{window.failed} of {window.requests} requests failed within {policy.window:.0f} s"
        return ""

    def _open(self, now: float, failure: Failure, rand: float, cause: str) -> None:
        policy = self.policy
        seconds = min(policy.open_time * 2.0 ** min(self.open_count, 32), policy.max_open_time)
        seconds = min(seconds * (0.8 + 0.4 * rand), policy.max_open_time)
        wait = min(failure.retry_after or 0.0, policy.max_retry_after)
        if wait:
            seconds = wait if failure.kind is FailureKind.RATE_LIMITED else max(seconds, wait)
        self.open_count += 1
        self.opened_at = now
        self.open_until = now + seconds
        self._become(_OPEN, now, f"{cause}: {self.last_failure_reason}")

    def _half_open(self, now: float, reason: str, forced: bool = False) -> None:
        self.half_open_at = now
        self.open_until = None
        self.trials_started = 0
        self.consecutive_successes = 0
        self._become(_HALF_OPEN, now, reason, forced)

    def _close(self, now: float, reason: str) -> None:
        self.open_count = 0
        self.open_until = None
        self.consecutive_failures = 0
        self._streak_lasting = 0
        self._window = BreakerWindow(self.policy.window)
        if self.state is not _CLOSED:
            self._become(_CLOSED, now, reason)

    def _end_trial(self) -> None:
        if self.trials:
            self.trials -= 1

    def _become(self, state: BreakerState, now: float, reason: str, forced: bool = False) -> None:
        transition = Transition(now, self.state, state, reason)
        self.state = state
        self.reason = reason
        self.forced = forced
        self.trials = 0
        self.generation += 1
        self.history = (*self.history[1 - HISTORY :], transition)
        if self.observe is not None:
            self.observe(self, transition)
