"""Vectors as the rows of a matrix of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

FIRST = 1_024  # rows at first


class Matrix:
    """`VectorIndex`. The rows have the length 1, so that a product is the cosine."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.full = False
        self._keys: list[str] = []
        self._places: dict[str, int] = {}
        self._rows: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._lock = Lock()  # looked through in other threads

    def put(self, found: Sequence[tuple[str, bytes]]) -> None:
        with self._lock:
            for key, raw in found:
                self._put(key, raw)

    def nearest(self, vector: bytes, limit: int) -> list[tuple[str, float]]:
        wanted = _unit(vector)
        with self._lock:
            count = len(self._keys)
            if wanted is None or not count or len(wanted) != self._rows.shape[1]:
                return []
            scores = self._rows[:count] @ wanted
            first = min(limit, count)
            best: list[int] = np.argpartition(-scores, first - 1)[:first].tolist() if first else []
            found = [(self._keys[place], float(scores[place])) for place in best]
        return sorted(found, key=lambda pair: -pair[1])

    def _put(self, key: str, raw: bytes) -> None:
        row = _unit(raw)
        if row is None:
            return
        if not self._keys:
            self._rows = np.zeros((min(FIRST, self.most), len(row)), np.float32)
        if len(row) != self._rows.shape[1]:
            return
        place = self._places.get(key)
        if place is None:
            place = len(self._keys)
            if place >= self.most:
                self.full = True
                return
            if place == len(self._rows):
                more = np.zeros((min(place, self.most - place), len(row)), np.float32)
                self._rows = np.concatenate([self._rows, more])
            self._keys.append(key)
            self._places[key] = place
        self._rows[place] = row


def _unit(raw: bytes) -> NDArray[np.float32] | None:
    vector = np.frombuffer(raw[: len(raw) // 4 * 4], "<f4").astype(np.float32)
    size = float(np.linalg.norm(vector))
    return vector / np.float32(size) if 0 < size < np.inf else None
