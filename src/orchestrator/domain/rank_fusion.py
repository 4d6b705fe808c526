"""Several rankings made into one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

K = 60
T = TypeVar("T", bound=Hashable)


def fused(rankings: Iterable[Sequence[T]], k: int = K) -> list[tuple[T, float]]:
    """Reciprocal rank fusion: each thing with its score, the best first; of equal ones the first of the first ranking.

    score(d) = sum over the rankings that have d of 1 / (k + rank of d), ranks from 1, k = 60: G. V. Cormack,
    C. L. A. Clarke, S. Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
    SIGIR 2009.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, thing in enumerate(ranking, 1):
            scores[thing] = scores.get(thing, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
