"""Policies that share requests out by number: in turn, in turn by weight, at random."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate

from orchestrator.domain.placement.bits import following, members
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.policy import Policy, Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

SESSIONS_KEPT = 10_000
TRIES = 8


class RoundRobin(Policy):
    """Each node in turn, from a random start. With `stickySessionsTtlMs`, a session returns to its node."""

    name = "round_robin"

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        ttl = self.options.round_robin.sticky_sessions_ttl_ms / 1000.0
        sessions = self._sessions(candidates) if ttl and request.session else None
        if sessions is not None:
            id, until = sessions.get(request.session, ("", 0.0))
            node = candidates.by_id.get(id)
            if node is not None and until > now and pool & node.bit:
                sessions[request.session] = (id, now + ttl)
                sessions.move_to_end(request.session)
                return node
        node = self._next(candidates, pool)
        if sessions is not None:
            sessions[request.session] = (node.id, now + ttl)
            sessions.move_to_end(request.session)
            if len(sessions) > SESSIONS_KEPT:
                sessions.popitem(last=False)
        return node

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        last = candidates.memory.get(self)
        size = candidates.mask.bit_length()
        start = last + 1 if isinstance(last, int) else 0
        return Rating(float((node.index - start) % size), {"last": float(start - 1)})

    def _next(self, candidates: CandidateSet, pool: int) -> NodeState:
        last = candidates.memory.get(self)
        if not isinstance(last, int):
            last = int(self.rand() * candidates.mask.bit_length()) - 1
        index = following(pool, last)
        candidates.memory[self] = index
        return candidates.nodes[candidates.positions[index]]

    def _sessions(self, candidates: CandidateSet) -> OrderedDict[str, tuple[str, float]]:
        key = (self, "sessions")
        found = candidates.memory.get(key)
        if isinstance(found, OrderedDict):
            return found
        fresh: OrderedDict[str, tuple[str, float]] = OrderedDict()
        candidates.memory[key] = fresh
        return fresh


class _Strides:
    """The queue of stride scheduling: each turn moves a node back by 1/weight, the one furthest ahead is next."""

    __slots__ = ("clock", "heap", "parked", "parked_at")

    def __init__(self, candidates: CandidateSet, policy: WeightedRoundRobin) -> None:
        self.clock = 0.0
        # A random tenth of a stride keeps equals from always coming in the order of their registration.
        self.heap = [
            (policy.stride(node) * (0.9 + 0.1 * policy.rand()), policy.rand(), node.index) for node in candidates.nodes
        ]
        heapify(self.heap)
        self.parked = 0  # nodes that were not in the pool when their turn came
        self.parked_at: dict[int, float] = {}


class WeightedRoundRobin(Policy):
    """In turn, as often as the weights say, and spread evenly (stride scheduling, Waldspurger 1995). A node that missed
    its turns, being full, gets none of them later: no burst."""

    name = "weighted_round_robin"

    def stride(self, node: NodeState) -> float:
        return 1.0 / node.weight if node.weight > 1e-6 else 1e6

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        strides = candidates.memory.get(self)
        if not isinstance(strides, _Strides):
            strides = candidates.memory[self] = _Strides(candidates, self)
        heap = strides.heap
        back = strides.parked & pool
        if back:
            for index in members(back):
                heappush(heap, (max(strides.parked_at.pop(index), strides.clock), self.rand(), index))
            strides.parked ^= back
        while heap:
            turn, _, index = heap[0]
            node = candidates.nodes[candidates.positions[index]]
            if not pool & node.bit:
                heappop(heap)
                strides.parked |= node.bit
                strides.parked_at[index] = turn
                continue
            strides.clock = turn
            heapreplace(heap, (turn + self.stride(node), self.rand(), index))
            return node
        return None

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        strides = candidates.memory.get(self)
        if not isinstance(strides, _Strides):
            return Rating(self.stride(node), {"weight": node.weight})
        turn = strides.parked_at.get(node.index)
        if turn is None:
            turn = next(at for at, _, index in strides.heap if index == node.index)
        return Rating(max(turn - strides.clock, 0.0), {"weight": node.weight})


class WeightedRandom(Policy):
    """At random, with probabilities in proportion to the weights."""

    name = "random"

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        sums = candidates.memory.get(self)
        if not isinstance(sums, list):
            sums = list(accumulate(node.weight for node in candidates.nodes))
            candidates.memory[self] = sums
        total = sums[-1]
        if not total:
            return self.draw(candidates, pool)
        nodes = candidates.nodes
        last = len(nodes) - 1
        for _ in range(TRIES):
            node = nodes[min(bisect_right(sums, self.rand() * total), last)]
            if pool & node.bit:
                return node
        # Few of the nodes are free, so that listing them is cheap; the probabilities stay the same.
        free = [nodes[candidates.positions[index]] for index in members(pool)]
        sums = list(accumulate(node.weight for node in free))
        if not sums[-1]:
            return self.draw(candidates, pool)
        return free[min(bisect_right(sums, self.rand() * sums[-1]), len(free) - 1)]

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        total = sum(other.weight for other in candidates.nodes)
        share = node.weight / total if total else 1.0 / len(candidates.nodes)
        return Rating(1.0 - share, {"weight": node.weight, "share": share})
