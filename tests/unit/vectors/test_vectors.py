from __future__ import annotations

import math
import struct

import pytest

from orchestrator.adapters.vectors import new_index
from orchestrator.adapters.vectors.matrix import Matrix
from orchestrator.adapters.vectors.plain import PlainVectors
from orchestrator.ports.meanings import VectorIndex


@pytest.fixture(params=[Matrix, PlainVectors])
def index(request: pytest.FixtureRequest) -> VectorIndex:
    made: VectorIndex = request.param(1_500)
    return made


def packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_the_nearest_is_the_one_in_the_same_direction_whatever_its_length(index: VectorIndex) -> None:
    index.put([("east", packed(5.0, 0.0)), ("north", packed(0.0, 0.1)), ("northeast", packed(3.0, 3.0))])
    found = index.nearest(packed(2.0, 0.1), 2)
    assert [key for key, _ in found] == ["east", "northeast"]
    assert found[0][1] == pytest.approx(2 / math.hypot(2, 0.1), abs=1e-5)
    assert [key for key, _ in index.nearest(packed(-1.0, 0.0), 10)][-1] == "east"


def test_a_vector_is_replaced(index: VectorIndex) -> None:
    index.put([("a", packed(1.0, 0.0)), ("b", packed(0.0, 1.0))])
    index.put([("a", packed(0.0, -1.0))])
    assert index.nearest(packed(1.0, 0.1), 5)[0][0] == "b"
    assert len(index.nearest(packed(1.0, 0.1), 5)) == 2


def test_vectors_that_cannot_be_compared_are_left_out(index: VectorIndex) -> None:
    assert index.nearest(packed(1.0, 0.0), 5) == []
    infinite = packed(math.inf, 0.0)
    index.put([("a", packed(1.0, 0.0)), ("zero", packed(0.0, 0.0)), ("long", packed(1.0, 0.0, 0.0)), ("inf", infinite)])
    index.put([("nan", packed(math.nan, 0.0)), ("none", b""), ("odd", packed(1.0, 1.0) + b"x")])
    assert {key for key, _ in index.nearest(packed(1.0, 0.0), 9)} <= {"a", "odd"}
    assert index.nearest(packed(1.0, 0.0, 0.0), 5) == []
    assert index.nearest(packed(0.0, 0.0), 5) == []
    assert index.nearest(packed(1.0, 0.0), 0) == []
    assert not index.full


def test_there_is_room_for_so_many(index: VectorIndex) -> None:
    index.put([(str(number), packed(1.0, number / 1_600)) for number in range(1_500)])
    assert not index.full
    index.put([("more", packed(0.0, 1.0)), ("7", packed(0.0, 1.0))])
    assert index.full
    assert [key for key, _ in index.nearest(packed(0.0, 1.0), 1)] == ["7"]
    assert len(index.nearest(packed(1.0, 0.0), 5_000)) == 1_500


def test_numpy_is_taken_where_it_is_installed() -> None:
    assert isinstance(new_index(10), Matrix)
