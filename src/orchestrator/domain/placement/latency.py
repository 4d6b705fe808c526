"""Policies that compare times. All in seconds; a failure is an added cost, never a fast answer."""

from __future__ import annotations

from orchestrator.domain.placement.board import BoardPolicy
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

WARM, COLD = 0.5, 1.1
EXPIRES_NOW_S, EXPIRES_SOON_S = 30.0, 120.0


def residency_factor(node: NodeState, model: str, now: float) -> float:
    """The contract's factors: 0.5 in memory, x2 when it leaves within 30 s, x1.2 within 120 s; 1.1 not in memory."""
    if node.loaded is None:
        return WARM
    residency = node.loaded.get(model)
    if residency is None:
        return COLD
    if residency.expires is None:
        return WARM
    left = residency.expires - now
    if left < EXPIRES_NOW_S:
        return WARM * 2.0
    return WARM * 1.2 if left < EXPIRES_SOON_S else WARM


class FastestResponse(BoardPolicy):
    """The fleet contract's default (3.2), mended: its latency is that of real answers, not of a probe; a low
    success rate costs instead of helping; equals are drawn instead of keeping their order."""

    name = "fastest_response"

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        options = self.options
        model = candidates.model
        record = node.records.get(model)
        failing = 0.0
        seconds = options.default_latency_ms / 1000.0
        if record is not None:
            failing = record.failure_rate(now) * options.failure_cost_ms / 1000.0
            if record.samples:
                seconds = (
                    options.latency_blend_recent * record.latency * record.age_factor(now)
                    + options.latency_blend_historical * record.p95
                )
        share = node.in_flight_by_model.get(model, 0) / node.capacity
        return (seconds + failing) * (1.0 + share * options.load_factor_multiplier) * residency_factor(node, model, now)

    def parts(
        self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float
    ) -> dict[str, float]:
        parts = super().parts(candidates, node, request, now)
        parts["residency"] = residency_factor(node, candidates.model, now)
        return parts


class LatencyOptimized(BoardPolicy):
    """Peak EWMA (Finagle): expected time x (requests in flight + 1). The time blends time to first token and duration
    by `streaming.ttftWeight` and `durationWeight`. A node nobody has tried yet is tried as soon as it is idle."""

    name = "latency_optimized"

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        options = self.options
        record = node.records.get(candidates.model)
        queue = node.in_flight + 1
        if record is None:
            return options.default_latency_ms / 1000.0 * queue if node.in_flight else 0.0
        failing = record.failure_rate(now) * options.failure_cost_ms / 1000.0
        if not record.samples:
            return (options.default_latency_ms / 1000.0 + failing) * queue
        blend = options.streaming
        seconds = blend.ttft_weight * record.first + blend.duration_weight * record.latency
        return (seconds * record.age_factor(now) + failing) * queue
