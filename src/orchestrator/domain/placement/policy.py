"""What every placement policy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from orchestrator.domain.placement.bits import draw
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.options import PolicyOptions
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

Rand = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rating:
    """A node's standing under one policy. The *lowest* cost wins; `parts` are what the cost was made of."""

    cost: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Policy(ABC):
    """Picks one node of a pool. Keeps its working state per candidate set in `candidates.memory[self]`."""

    name: ClassVar[str]

    def __init__(self, options: PolicyOptions, rand: Rand) -> None:
        """`rand` gives uniform floats in [0, 1)."""
        self.options = options
        self.rand = rand

    @abstractmethod
    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        """`pool` is the non-empty set of nodes to pick from; `usable` adds those that only lack room. None: wait."""

    @abstractmethod
    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        """How the policy sees one node now, for people. Changes nothing."""

    def forget(self, node: str) -> None:  # noqa: B027 - most policies remember nothing of a node by its id
        """Drop what is remembered of a node that left, or restarted."""

    def draw(self, candidates: CandidateSet, pool: int) -> NodeState:
        """A uniformly random node of the pool."""
        return candidates.nodes[candidates.positions[draw(pool, self.rand)]]

    def better(
        self, candidates: CandidateSet, pool: int, cost: Callable[[NodeState], float], tries: int = 2
    ) -> NodeState:
        """The best of a few random nodes, the first of equals: random, as the order of the draws is."""
        first = self.draw(candidates, pool)
        rest = pool & ~first.bit
        if not rest:
            return first
        least = cost(first)
        for _ in range(tries - 1):
            other = self.draw(candidates, rest)
            value = cost(other)
            if value < least:
                first, least = other, value
            rest &= ~other.bit
            if not rest:
                break
        return first


def excluded_mask(candidates: CandidateSet, exclude: Collection[str]) -> int:
    mask = 0
    for id in exclude:
        node = candidates.by_id.get(id)
        if node is not None:
            mask |= node.bit
    return mask
