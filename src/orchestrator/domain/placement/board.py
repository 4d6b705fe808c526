"""Costs of all candidates under one policy, kept current by recomputing only what changed."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, islice

from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.policy import Policy, Rand, Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

BLOCK_BITS = 5
BLOCK = 1 << BLOCK_BITS
SMALL = 12  # up to here every decision computes every cost
CHANGES_TAKEN = 8  # per decision; the sweep finds what is left over
SWEEP = 4  # costs recomputed per decision only because time passed
TRIES = 4  # best costs looked at when they turn out to be out of reach
INFINITE = float("inf")


class Board:
    """Costs in blocks of 32 with the minimum of each block, so that the least of 1,000 costs two scans of 32."""

    __slots__ = ("candidates", "costs", "counts", "minima", "sequence", "sweep")

    def __init__(self, candidates: CandidateSet, cost: Callable[[NodeState], float]) -> None:
        self.candidates = candidates
        self.minima: list[float] = []
        self.counts: list[int] = []  # how many costs of the block equal its minimum
        self._fill([cost(node) for node in candidates.nodes])
        self.sequence = candidates.roster.sequence
        self.sweep = 0

    def refresh(self, cost: Callable[[NodeState], float]) -> None:
        """Recompute the costs of the nodes that changed since the last call, and of a few more in turn."""
        nodes = self.candidates.nodes
        size = len(nodes)
        roster = self.candidates.roster
        changed = roster.sequence - self.sequence
        self.sequence = roster.sequence
        if size <= SMALL:
            self._fill([cost(node) for node in nodes])
            return
        place = self.place
        if changed:
            positions = self.candidates.positions
            for index in set(islice(reversed(roster.changes), min(changed, CHANGES_TAKEN))):
                position = positions.get(index)
                if position is not None:
                    place(position, cost(nodes[position]))
        start = self.sweep
        for position in range(start, min(start + SWEEP, size)):
            place(position, cost(nodes[position]))
        self.sweep = start + SWEEP if start + SWEEP < size else 0

    def place(self, position: int, cost: float) -> None:
        costs = self.costs
        before = costs[position]
        if cost == before:
            return
        costs[position] = cost
        block = position >> BLOCK_BITS
        least = self.minima[block]
        if cost < least:
            self.minima[block] = cost
            self.counts[block] = 1
            return
        if cost == least:
            self.counts[block] += 1
        elif before == least:
            self.counts[block] -= 1
            if not self.counts[block]:
                values = self._block(block)
                least = self.minima[block] = min(values)
                self.counts[block] = values.count(least)

    def least(self, rand: Rand) -> int:
        """Position of the lowest cost, each of equals with the same probability; -1 when all are infinite."""
        minima = self.minima
        least = min(minima)
        if least == INFINITE:
            return -1
        ties = minima.count(least)
        if ties == 1:
            block = minima.index(least)
        else:
            blocks = [block for block, value in enumerate(minima) if value == least]
            sums = list(accumulate([self.counts[block] for block in blocks]))
            block = blocks[bisect_right(sums, int(rand() * sums[-1]))]
        costs = self._block(block)
        position = costs.index(least)
        for _ in range(int(rand() * self.counts[block])):
            position = costs.index(least, position + 1)
        return (block << BLOCK_BITS) + position

    def _fill(self, costs: list[float]) -> None:
        self.costs = costs
        blocks = [costs[start : start + BLOCK] for start in range(0, len(costs), BLOCK)]
        self.minima = [min(values) for values in blocks]
        self.counts = [values.count(least) for values, least in zip(blocks, self.minima, strict=True)]

    def _block(self, block: int) -> list[float]:
        start = block << BLOCK_BITS
        return self.costs[start : start + BLOCK]


class BoardPolicy(Policy):
    """A policy that takes the lowest cost of all candidates."""

    @abstractmethod
    def cost(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> float:
        """Lower is better. Does not look at room or rests."""

    def context(self, request: PlacementRequest) -> int:
        """Requests with different contexts have different costs, hence a board each."""
        return 0

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        compute = self.cost
        roster = candidates.roster
        # Not the pool: what this request alone leaves out must not stay on the board for the next one.
        stop = ~roster.room | roster.unavailable(candidates.model)

        def cost(node: NodeState) -> float:
            return INFINITE if stop & node.bit else compute(candidates, node, request, now)

        key = (self, self.context(request))
        board = candidates.memory.get(key)
        if isinstance(board, Board):
            board.refresh(cost)
        else:
            board = candidates.memory[key] = Board(candidates, cost)
        found = self._take(candidates, board, pool, stop)
        if found is not None:
            return found
        # All on the board are full or resting, or its news of them are late: compare a few of the pool directly.
        return self.better(candidates, pool, lambda node: compute(candidates, node, request, now), tries=6)

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        return Rating(self.cost(candidates, node, request, now), self.parts(candidates, node, request, now))

    def parts(
        self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float
    ) -> dict[str, float]:
        """The figures behind a cost."""
        record = node.records.get(candidates.model)
        parts = {"load": node.in_flight / node.capacity}
        if record is not None:
            parts["failure_rate"] = record.failure_rate(now)
            if record.samples:
                parts["latency_s"] = record.latency
        return parts

    def _take(self, candidates: CandidateSet, board: Board, pool: int, stop: int) -> NodeState | None:
        set_aside: list[tuple[int, float]] = []
        found: NodeState | None = None
        for _ in range(TRIES):
            position = board.least(self.rand)
            if position < 0:
                break
            node = candidates.nodes[position]
            if pool & node.bit:
                found = node
                break
            # Full or resting unnoticed: news of it comes when that ends. Left out by this request: back at once.
            if not stop & node.bit:
                set_aside.append((position, board.costs[position]))
            board.place(position, INFINITE)
        for position, value in set_aside:
            board.place(position, value)
        return found
