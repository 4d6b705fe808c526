"""A contextual bandit: it learns how long each kind of request takes on each node, and keeps trying."""

from __future__ import annotations

from math import cos, log, pi, sqrt

from orchestrator.domain.placement.arm import Arm, size_class
from orchestrator.domain.placement.board import BoardPolicy
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.policy import Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

UNTRIED = Arm()


class Learned(BoardPolicy):
    """Thompson sampling. Context: the request's size class and the node's load. Each node's expected seconds are drawn
    from what is known of them, so that ignorance is explored in proportion to its promise. The draws of up to 12
    candidates are fresh at each decision; of more, those of changed nodes and a few more in turn."""

    name = "learned"

    def context(self, request: PlacementRequest) -> int:
        return size_class(request.est_tokens)

    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        rand = self.rand
        # 1 - u keeps the logarithm away from 0 (Box-Muller).
        z = sqrt(-2.0 * log(1.0 - rand())) * cos(2.0 * pi * rand())
        return self._seconds(candidates, node, request, now, z)

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        mean = self._seconds(candidates, node, request, now, 0.0)
        optimistic = self._seconds(candidates, node, request, now, -1.0)
        return Rating(mean, {"expected_s": mean, "optimistic_s": optimistic})

    def _seconds(
        self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float, z: float
    ) -> float:
        options = self.options
        record = node.records.get(candidates.model)
        prior = log(max(options.default_latency_ms, 1.0) / 1000.0)
        load = node.in_flight / node.capacity
        if record is None:
            return UNTRIED.duration(load, prior, z)
        arm = record.arms.get(size_class(request.est_tokens), UNTRIED)
        failing = record.failure_rate(now) * options.failure_cost_ms / 1000.0
        return arm.duration(load, prior, z) + failing
