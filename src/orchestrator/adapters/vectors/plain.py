"""Vectors without a library."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from heapq import nlargest
from operator import mul


class PlainVectors:
    """`VectorIndex` in a dict."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.full = False
        self._length = 0  # of each, in bytes
        self._vectors: dict[str, array[float]] = {}

    def put(self, found: Sequence[tuple[str, bytes]]) -> None:
        for key, raw in found:
            vector = read_floats(raw)
            size = math.sqrt(sum(map(mul, vector, vector)))
            self._length = self._length or len(raw)
            fits = len(raw) == self._length and 0 < size < math.inf
            if fits and key not in self._vectors and len(self._vectors) >= self.most:
                self.full = True
            elif fits:
                self._vectors[key] = array("f", [value / size for value in vector])

    def nearest(self, vector: bytes, limit: int) -> list[tuple[str, float]]:
        wanted = read_floats(vector)
        size = math.sqrt(sum(map(mul, wanted, wanted)))
        if len(vector) != self._length or not 0 < size < math.inf:
            return []
        scores = ((key, sum(map(mul, wanted, one)) / size) for key, one in list(self._vectors.items()))
        return nlargest(limit, scores, key=lambda pair: pair[1])


def read_floats(raw: bytes) -> array[float]:
    """32-bit floats, little-endian; bytes behind the last whole one do not count."""
    vector = array("f", raw[: len(raw) // 4 * 4])
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
