"""The record of how nodes come back: the last attempts and the last changes of breakers of every node, in memory.

It hears of probes of nodes that are down, of tests, and of changes of breakers; an ordinary request costs it nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState, Transition
from orchestrator.domain.node import NodeReport
from orchestrator.domain.recovery import AttemptOutcome, BreakerChange, RecoveryAttempt, Source, error_type
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.node import FleetNode

KEPT = 200  # attempts, and changes, of each node


class NodeRecord:
    """What is kept of one node, oldest first. `numbered` counts its attempts since the start or the last reset."""

    __slots__ = ("attempts", "changes", "failures", "numbered")

    def __init__(self) -> None:
        self.attempts: deque[RecoveryAttempt] = deque(maxlen=KEPT)
        self.changes: deque[BreakerChange] = deque(maxlen=KEPT)
        self.numbered = 0
        self.failures = 0  # in a row


class RecoveryLog:
    """Keeps `NodeRecord`s for the nodes of the fleet."""

    def __init__(self, fleet: Fleet, health: Health) -> None:
        self.testing: set[tuple[str, str]] = set()  # breakers whose test notes its own end
        self._fleet = fleet
        self._records: dict[str, NodeRecord] = {}
        health.on_return_look.append(self._looked)
        fleet.on_breaker.append(self._changed)
        fleet.on_lost.append(self._lost)

    def of(self, node_id: str) -> NodeRecord:
        """The record of a node; an empty one where nothing has happened."""
        return self._records.get(node_id) or NodeRecord()

    def tests(self) -> dict[tuple[str, str], list[RecoveryAttempt]]:
        """The tests that are kept, by node and model."""
        found: dict[tuple[str, str], list[RecoveryAttempt]] = {}
        for record in self._records.values():
            for one in record.attempts:
                if one.source is Source.RECOVERY_TEST:
                    found.setdefault((one.node, one.model), []).append(one)
        return found

    def reset(self, node_id: str) -> int:
        """Forgets what is kept of a node; returns how many attempts that were."""
        record = self._records.pop(node_id, None)
        return len(record.attempts) if record is not None else 0

    def note(
        self,
        breaker: Breaker,
        source: Source,
        outcome: AttemptOutcome,
        *,
        state: BreakerState,
        error: str = "",
        seconds: float | None = None,
    ) -> None:
        """Adds an attempt. `state` is that of the breaker when the attempt was made."""
        record = self._records.setdefault(breaker.node, NodeRecord())
        record.numbered += 1
        if outcome is AttemptOutcome.SUCCESS:
            record.failures = 0
        elif outcome is not AttemptOutcome.CANCELLED:
            record.failures += 1
        timed_out = outcome is AttemptOutcome.TIMEOUT
        record.attempts.append(
            RecoveryAttempt(
                at=self._fleet.clock.epoch,
                node=breaker.node,
                model=breaker.model,
                source=source,
                outcome=outcome,
                breaker=state,
                number=record.numbered,
                failures=record.failures,
                error=error,
                error_type=("timeout" if timed_out else error_type(error)) if error or timed_out else "",
                seconds=seconds,
            )
        )

    def _looked(self, node: FleetNode, report: NodeReport) -> None:
        outcome = AttemptOutcome.SUCCESS if report.healthy else verdict(report.error)
        self.note(
            node.breaker,
            Source.HEALTH_CHECK,
            outcome,
            state=node.breaker.state,
            error=report.error,
            seconds=report.latency_ms / 1000,
        )

    def _changed(self, breaker: Breaker, change: Transition) -> None:
        record = self._records.setdefault(breaker.node, NodeRecord())
        record.changes.append(
            BreakerChange(change.at, breaker.node, breaker.model, change.previous, change.state, change.reason)
        )
        if change.previous is not BreakerState.HALF_OPEN or (breaker.node, breaker.model) in self.testing:
            return
        if change.state is BreakerState.OPEN and not breaker.forced:
            error = breaker.last_failure_reason
            self.note(breaker, Source.TRIAL_REQUEST, verdict(error), state=change.previous, error=error)
        elif change.state is BreakerState.CLOSED and breaker.consecutive_successes >= breaker.policy.recovery_successes:
            self.note(breaker, Source.TRIAL_REQUEST, AttemptOutcome.SUCCESS, state=change.previous)

    def _lost(self, node_id: str) -> None:
        if self._fleet.get(node_id) is None:
            self._records.pop(node_id, None)


def verdict(error: str) -> AttemptOutcome:
    return AttemptOutcome.TIMEOUT if error_type(error) == "timeout" else AttemptOutcome.FAILURE


def failures(attempts: Iterable[RecoveryAttempt]) -> list[RecoveryAttempt]:
    return [one for one in attempts if one.failed]
