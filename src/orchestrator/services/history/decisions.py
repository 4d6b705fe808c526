"""Why requests went where they went: a sample of the decisions, explained at the moment they are made.

Afterwards would be too late: the scores of a moment later are those of another situation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf, isfinite
from time import perf_counter

from orchestrator.domain.placement import CandidateSet, Considered
from orchestrator.domain.placement.weighted import weighted_parts, weighted_score
from orchestrator.ports.history import Candidate, Decision
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.exchange import Exchange
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.gateway.score import PARTS

MOST_CANDIDATES = 10
SHARE = 0.01  # of the time that explaining may take: with a thousand nodes one explanation is milliseconds
AFTER_A_BUG = 60.0  # seconds

_log = logging.getLogger("orchestrator.history")


class DecisionSampler:
    """Explains some decisions. `listen` is the gateway's; it says when it wants to hear of the next one."""

    def __init__(self, gateway: Gateway, keep: Callable[[Decision], None], *, per_second: int) -> None:
        self._gateway = gateway
        self._keep = keep
        self._rate = per_second
        self._left = float(per_second)
        self._counted = 0.0  # when `_left` was right, monotonic

    def start(self) -> None:
        self._gateway.placing.listen(self.listen, 0.0 if self._rate else inf)

    def adopt(self, per_second: int) -> None:
        """At most so many a second from now on."""
        if per_second != self._rate:
            self._rate = per_second
            self._left = min(self._left, float(per_second))
            self.start()

    def listen(
        self, exchange: Exchange, node: FleetNode, candidates: CandidateSet, excluded: tuple[str, ...], now: float
    ) -> float:
        """Explains a choice before anything of it has happened. Returns the monotonic time of the next to explain."""
        rate = self._rate
        if not rate:
            return inf
        self._left = min(self._left + (now - self._counted) * rate, float(rate)) - 1
        self._counted = now
        since = perf_counter()
        try:
            self._keep(self._explain(exchange, node, candidates, excluded, now))
        except Exception:  # noqa: BLE001 - logged whole; a request must not fail because its history does
            _log.exception("bug", extra={"request": exchange.id})
            return now + AFTER_A_BUG
        pause = (perf_counter() - since) / SHARE
        if self._left < 1:
            return now + max(pause, (1 - self._left) / rate)
        return now + pause if pause > 1.0 / rate else now

    def _explain(
        self, exchange: Exchange, node: FleetNode, candidates: CandidateSet, excluded: tuple[str, ...], now: float
    ) -> Decision:
        gateway = self._gateway
        policy = exchange.policy or gateway.placement.policy
        request = gateway.placing.request(exchange)
        considered = gateway.placement.explain(candidates, request, now, exchange.policy, excluded)
        usable = [one for one in considered if one.reason is None]
        place = next((index for index, one in enumerate(usable) if one.node == node.id), -1)
        shown = considered[:MOST_CANDIDATES]
        if place >= MOST_CANDIDATES:
            shown[-1] = usable[place]
        if len(shown) < MOST_CANDIDATES:
            shown += gateway.fleet.rejected(candidates.model, exchange.endpoint)[: MOST_CANDIDATES - len(shown)]
        return Decision(
            at=gateway.clock.epoch,
            request_id=exchange.id,
            model=candidates.model,
            node=node.id,
            policy=policy,
            reason=_reason(policy, place, len(usable), excluded),
            candidates=tuple(self._candidate(one, candidates, now) for one in shown),
        )

    def _candidate(self, one: Considered, candidates: CandidateSet, now: float) -> Candidate:
        """The score is the contract's, 0 to 100, whatever the policy; the policy's own figures stand beside it."""
        node = self._gateway.fleet.get(one.node)
        reason = str(one.reason) if one.reason is not None else ""
        if node is None or not isfinite(one.cost):
            return Candidate(one.node, None, {}, reason)
        options = self._gateway.placement.options
        scored = weighted_parts(node.state, candidates.model, now, options, candidates.size)
        parts = {PARTS[part]: round(value, 2) for part, value in scored.items()}
        own = {f"policy.{name}": round(value, 6) for name, value in one.parts.items() if name not in PARTS}
        record = node.state.records.get(candidates.model)
        measured = {"inFlight": float(node.state.in_flight)}
        if record is not None:
            measured["successRate"] = round(1.0 - record.failure_rate(now), 4)
            if record.samples:
                measured["p95Latency"] = round(record.p95 * 1000, 1)
        score = round(weighted_score(scored, options), 2)
        return Candidate(one.node, score, {**parts, **measured, "policy.cost": round(one.cost, 6), **own}, reason)


def _reason(policy: str, place: int, usable: int, excluded: tuple[str, ...]) -> str:
    after = f", after {', '.join(excluded)} failed" if excluded else ""
    if usable <= 1:
        return f"the only server that could take it{after}"
    if place == 0:
        return f"best of {usable} by {policy}{after}"
    if place < 0:
        return f"chosen by {policy}{after}"
    return f"chosen by {policy}, {place + 1}. of {usable} by cost{after}"
