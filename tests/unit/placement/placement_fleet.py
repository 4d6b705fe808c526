"""Small fleets for the tests, and a fleet on a virtual clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from orchestrator.domain.placement import (
    CandidateSet,
    NodeState,
    Outcome,
    Placement,
    PlacementRequest,
    Residency,
    Roster,
)

MODEL = "m:latest"
ANY = PlacementRequest(MODEL)


def make_nodes(
    count: int, *, slots: int = 4, weights: Iterable[float] = (), loaded: Iterable[str] | None = None
) -> list[NodeState]:
    roster = Roster()
    shares = list(weights) or [1.0] * count
    nodes = [roster.join(f"n{i}", max_concurrency=slots, weight=shares[i]) for i in range(count)]
    if loaded is not None:
        for node in nodes:
            node.set_loaded({model: Residency() for model in loaded})
    return nodes


def good(seconds: float = 1.0, *, tokens: int = 0, ttft: float | None = None) -> Outcome:
    return Outcome(ok=True, duration_s=seconds, tokens=tokens, ttft_s=ttft)


def bad(status: int = 503, seconds: float = 0.005) -> Outcome:
    return Outcome(ok=False, duration_s=seconds, status=status)


class Simulation:
    """Requests arrive, queue while there is no room, and end on a virtual clock. `serve` says how a node answers."""

    def __init__(self, placement: Placement, serve: Callable[[NodeState, str], Outcome], seed: int = 1) -> None:
        self.placement = placement
        self.serve = serve
        self.rng = random.Random(seed)
        self.now = 0.0
        self.sent: Counter[str] = Counter()
        self.log: list[tuple[float, str]] = []
        self._ends: list[tuple[float, int, NodeState, str, Outcome]] = []
        self._waiting: list[tuple[float, CandidateSet, PlacementRequest]] = []

    def run(self, arrivals: Iterable[tuple[float, CandidateSet, PlacementRequest]]) -> None:
        """`arrivals` are in order of time; runs until the last request has ended."""
        for at, candidates, request in arrivals:
            self._advance(at)
            self._waiting.append((at, candidates, request))
            self._dispatch()
        while self._ends:
            self._advance(self._ends[0][0])
        assert not self._waiting

    def _advance(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            self.now, _, node, model, outcome = heappop(self._ends)
            node.finish(model, outcome, self.now)
            self._dispatch()
        self.now = until

    def _dispatch(self) -> None:
        left = []
        for at, candidates, request in self._waiting:
            asked = PlacementRequest(
                request.model, request.prefix, request.session, waiting=len(left), waited_s=self.now - at
            )
            node = self.placement.choose(candidates, asked, self.now)
            if node is None:
                left.append((at, candidates, request))
                continue
            outcome = self.serve(node, request.model)
            node.begin(request.model)
            self.sent[node.id] += 1
            self.log.append((self.now, node.id))
            heappush(self._ends, (self.now + outcome.duration_s, len(self.log), node, request.model, outcome))
        self._waiting = left
