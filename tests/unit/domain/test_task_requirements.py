from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.task.requirements import Requirements, TaskClass, never, not_now


@dataclass
class Node:
    id: str = "n"
    capabilities: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_usage: float = 0.0
    memory_usage: float = 0.0
    load_score: float = 0.0
    memory_mb: float | None = None


def test_who_asks_for_nothing_suits_every_node_that_is_not_overloaded() -> None:
    assert never(Requirements(), Node()) == not_now(Requirements(), Node()) == ""
    assert not_now(Requirements(), Node(load_score=0.9)) == ""
    assert not_now(Requirements(), Node(load_score=0.91)) == "load score 0.91 is over 0.9"
    assert not_now(Requirements(max_load=1.0), Node(load_score=1.0)) == ""


@pytest.mark.parametrize(
    ("requirements", "node", "reason"),
    [
        (Requirements(frozenset({"gpu"})), Node(), "lacks capability gpu"),
        (Requirements(frozenset("cab")), Node(capabilities=frozenset("a")), "lacks capability b, c"),
        (Requirements(frozenset({"gpu"})), Node(capabilities=frozenset({"gpu", "x"})), ""),
        (Requirements(frozenset({"gpu"})), Node(capabilities=frozenset({"GPU"})), "lacks capability gpu"),
        (Requirements(labels=(("zone", "a"),)), Node(), "label zone is not a"),
        (Requirements(labels=(("zone", "a"),)), Node(labels={"zone": "b"}), "label zone is not a"),
        (Requirements(labels=(("zone", "a"),)), Node(labels={"zone": "a", "x": "y"}), ""),
        (Requirements(exclude_nodes=frozenset({"n"})), Node(), "excluded by exclude_nodes"),
        (Requirements(exclude_nodes=frozenset({"m"})), Node(), ""),
        (Requirements(preferred_nodes=frozenset({"m"})), Node(), ""),
    ],
)
def test_what_a_node_is(requirements: Requirements, node: Node, reason: str) -> None:
    assert never(requirements, node) == reason


@pytest.mark.parametrize(
    ("requirements", "node", "reason"),
    [
        (Requirements(min_cpu=30), Node(cpu_usage=70), ""),
        (Requirements(min_cpu=30), Node(cpu_usage=71), "29 % of the processor is free, min_cpu is 30"),
        (Requirements(min_memory=30), Node(memory_usage=70), ""),
        (Requirements(min_memory=100), Node(memory_usage=1), "99 % of the memory is free, min_memory is 100"),
        (Requirements(min_memory=101), Node(memory_usage=90), ""),
        (Requirements(min_memory=500), Node(memory_usage=50, memory_mb=1000), ""),
        (
            Requirements(min_memory=501),
            Node(memory_usage=50, memory_mb=1000),
            "500 MB of memory are free, min_memory is 501",
        ),
    ],
)
def test_what_a_node_does_now(requirements: Requirements, node: Node, reason: str) -> None:
    assert not_now(requirements, node) == reason


percents = st.floats(0, 100)


@given(percents, percents, percents, percents, st.floats(0, 1), st.floats(0, 1))
def test_a_freer_node_never_suits_less(
    min_cpu: float, min_memory: float, cpu: float, memory: float, load: float, most: float
) -> None:
    wanted = Requirements(min_cpu=min_cpu, min_memory=min_memory, max_load=most)
    if not not_now(wanted, Node(cpu_usage=cpu, memory_usage=memory, load_score=load)):
        assert not_now(wanted, Node(cpu_usage=cpu / 2, memory_usage=memory / 2, load_score=load / 2)) == ""


def test_equal_requirements_are_one_class_whatever_their_order() -> None:
    one = TaskClass("x", Requirements(frozenset(["a", "b"]), (("k", "v"),), exclude_nodes=frozenset(["n", "m"])))
    other = TaskClass("x", Requirements(frozenset(["b", "a"]), (("k", "v"),), exclude_nodes=frozenset(["m", "n"])))
    assert one == other
    assert hash(one) == hash(other)
    assert one != TaskClass("y", one.requirements)
