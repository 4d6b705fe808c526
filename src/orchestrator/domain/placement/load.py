"""Policies that look at how busy nodes are."""

from __future__ import annotations

from functools import partial

from orchestrator.domain.placement.board import BoardPolicy
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.options import LeastConnectionsOptions
from orchestrator.domain.placement.policy import Policy, Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

MEMORY_MARGIN = 1.2  # a loaded model takes more than its file (fleet contract, memorySafetyMargin)
VRAM_SHARE = 0.5
FITS, UNKNOWN, CROWDED = 0.25, 0.5, 1.0


def connection_cost(node: NodeState, model: str, now: float, options: LeastConnectionsOptions) -> float:
    """Load x (1 + failure rate x penalty), as the contract has it; the failure rate also counts as load, or an idle
    node that only fails would cost nothing."""
    load = node.in_flight / node.capacity if options.consider_capacity else float(node.in_flight)
    if options.consider_failure_rate:
        record = node.records.get(model)
        if record is not None and record.failure:
            failure = record.failure_rate(now)
            return (load + failure) * (1.0 + failure * options.failure_rate_penalty)
    return load


def vram_pressure(node: NodeState, model: str, size: int) -> float:
    """0 holds the model, up to 1 where another model would have to leave."""
    loaded = node.loaded
    if loaded is None or model in loaded:
        return 0.0
    if not loaded:
        return FITS
    if node.vram_free is None or not size:
        return UNKNOWN
    return FITS if node.vram_free >= size * MEMORY_MARGIN else CROWDED


class LeastConnections(BoardPolicy):
    """The lowest share of slots in use."""

    name = "least_connections"

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        return connection_cost(node, candidates.model, now, self.options.least_connections)


class PowerOfTwo(Policy):
    """The less busy of two random nodes: nearly as even as the least busy of all, and no herd on it (Mitzenmacher)."""

    name = "power_of_two"

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        options = self.options.least_connections
        return self.better(candidates, pool, partial(connection_cost, model=candidates.model, now=now, options=options))

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        cost = connection_cost(node, candidates.model, now, self.options.least_connections)
        return Rating(cost, {"load": node.in_flight / node.capacity})


class ResourceAware(BoardPolicy):
    """Free slots and free memory: load + failure rate + half of the VRAM pressure."""

    name = "resource_aware"

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        busy = connection_cost(node, candidates.model, now, self.options.least_connections)
        return busy + VRAM_SHARE * vram_pressure(node, candidates.model, candidates.size)

    def parts(
        self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float
    ) -> dict[str, float]:
        parts = super().parts(candidates, node, request, now)
        parts["vram_pressure"] = vram_pressure(node, candidates.model, candidates.size)
        return parts
