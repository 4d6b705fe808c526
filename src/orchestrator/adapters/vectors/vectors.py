"""Which form vectors in memory have."""

from __future__ import annotations

from importlib.util import find_spec

from orchestrator.adapters.vectors.plain import PlainVectors
from orchestrator.ports.meanings import VectorIndex

PLAIN_MOST = 5_000  # vectors that are looked through without numpy: about a second for 1,000 numbers each


def new_index(most: int) -> VectorIndex:
    """For at most so many vectors. Without numpy it holds `PLAIN_MOST`, the rest is left out."""
    if find_spec("numpy") is None:
        return PlainVectors(min(most, PLAIN_MOST))
    from orchestrator.adapters.vectors.matrix import Matrix

    return Matrix(most)
