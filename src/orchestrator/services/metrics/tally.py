"""Counters that only finished requests can tell. The usual request, answered at the first try, costs one comparison."""

from __future__ import annotations

from collections import Counter

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import Transition
from orchestrator.domain.errors import RequestError
from orchestrator.domain.histogram import Histogram
from orchestrator.ports.record import RequestRecord


def codes(kind: type[RequestError]) -> set[str]:
    """The codes of an error and of those below it."""
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))


# Errors that are the caller's own. What a node refuses for the caller's fault is passed on as `upstream_4xx`.
OF_THE_CALLER = frozenset(codes(RequestError))
PASSED_ON = "upstream_4"


def failed(record: RequestRecord) -> bool:
    """Whether the service or a node failed the request."""
    error = record.error
    return record.outcome == "error" and error not in OF_THE_CALLER and not error.startswith(PASSED_ON)


class Tally:
    """Counts since the start of the process; removing a node takes nothing away."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0
        self.errors = 0
        self.cancelled = 0
        self.retries = 0
        self.failovers = 0
        self.continuations = 0
        self.codes: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()  # by node and kind
        self.transitions: Counter[tuple[str, str, str]] = Counter()  # by node, model and the state reached
        self.queue_wait = Histogram()

    def add(self, record: RequestRecord) -> None:
        """A request is over."""
        self.requests += 1
        self.tokens += record.completion_tokens
        if record.outcome != "ok" or record.queue_wait or len(record.attempts) != 1:
            self._unusual(record)

    def _unusual(self, record: RequestRecord) -> None:
        if record.queue_wait:
            self.queue_wait.observe(record.queue_wait)
        if record.outcome == "cancelled":
            self.cancelled += 1
        elif record.outcome == "error":
            self.codes["upstream_4xx" if record.error.startswith(PASSED_ON) else record.error] += 1
            self.errors += failed(record)
        attempts = record.attempts
        if len(attempts) > 1:
            self.retries += len(attempts) - 1
            self.failovers += record.outcome == "ok" and record.node != attempts[0].node_id
        self.continuations += record.continuations
        for attempt in attempts:
            if attempt.kind and attempt.kind != "client":
                self.failures[attempt.node_id, attempt.kind] += 1

    def transition(self, breaker: Breaker, change: Transition) -> None:
        """A breaker is in another state."""
        self.transitions[breaker.node, breaker.model, change.state.value] += 1
