"""The fleet contract's score of eight weighted parts (3.2), each from 0 to 100."""

from __future__ import annotations

from orchestrator.domain.placement.board import BoardPolicy
from orchestrator.domain.placement.load import MEMORY_MARGIN
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.options import PolicyOptions
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

FULL_SPEED_TPS = 50.0
TIMEOUT_SCALE_S = 300.0
HALF_OPEN = 20.0
PER_FAILURE = 5.0


def weighted_parts(node: NodeState, model: str, now: float, options: PolicyOptions, size: int = 0) -> dict[str, float]:
    """The parts that are known, best 100: latency, success_rate, load, capacity, circuit_breaker, timeout, vram, and
    throughput only where it was measured, so that an unmeasured node is not punished for it.
    """
    record = node.records.get(model)
    limits = options.thresholds
    slots = node.capacity
    p95 = record.p95 * 1000.0 if record is not None and record.samples else options.default_latency_ms
    latency = max(0.0, 100.0 - p95 / limits.max_p95_latency * 100.0) if limits.max_p95_latency else 0.0
    if p95 > limits.max_p95_latency:
        latency *= limits.latency_penalty
    parts = {
        "latency": latency,
        "success_rate": 100.0,
        "load": max(0.0, 100.0 - node.in_flight / (2.0 * slots) * 100.0),
        "capacity": max(0.0, (slots - node.in_flight_by_model.get(model, 0)) / slots * 100.0),
        "circuit_breaker": 100.0,
        "timeout": 100.0,
        "vram": _vram(node, model, size),
    }
    if record is not None:
        success = 1.0 - record.failure_rate(now)
        parts["success_rate"] = success * 100.0
        if success < limits.min_success_rate:
            parts["success_rate"] *= limits.error_penalty
        parts["circuit_breaker"] = HALF_OPEN if record.half_open else max(0.0, 100.0 - PER_FAILURE * record.streak)
        parts["timeout"] = max(0.0, 100.0 - record.timeout_s / TIMEOUT_SCALE_S * 100.0)
        if record.tps:
            parts["throughput"] = min(100.0, record.tps / FULL_SPEED_TPS * 100.0)
    return parts


def weighted_score(parts: dict[str, float], options: PolicyOptions) -> float:
    """Sum of part x weight, best first; with a part unknown, the others share its weight."""
    weights = options.weights
    throughput = parts.get("throughput")
    score = (
        parts["latency"] * weights.latency
        + parts["success_rate"] * weights.success_rate
        + parts["load"] * weights.load
        + parts["capacity"] * weights.capacity
        + parts["circuit_breaker"] * weights.circuit_breaker
        + parts["timeout"] * weights.timeout
        + parts["vram"] * weights.vram
    )
    if throughput is not None:
        return score + throughput * weights.throughput
    known = (
        weights.latency
        + weights.success_rate
        + weights.load
        + weights.capacity
        + weights.circuit_breaker
        + weights.timeout
        + weights.vram
    )
    return score * (known + weights.throughput) / known if known else score


def _vram(node: NodeState, model: str, size: int) -> float:
    loaded = node.loaded
    if loaded is not None and model in loaded:
        return 100.0
    if loaded is None or node.vram_free is None or not size:
        return 50.0
    return min(1.0, max(0.0, node.vram_free / (size * MEMORY_MARGIN))) * 100.0


class Weighted(BoardPolicy):
    """The highest weighted score; its negative is the cost."""

    name = "weighted"

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        options = self.options
        return -weighted_score(weighted_parts(node, candidates.model, now, options, candidates.size), options)

    def parts(
        self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float
    ) -> dict[str, float]:
        return weighted_parts(node, candidates.model, now, self.options, candidates.size)
