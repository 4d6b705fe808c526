"""When a request waits for a node that holds its model, and which node loads it otherwise."""

from __future__ import annotations

import random

import pytest
from placement_fleet import ANY, MODEL, bad, good, make_nodes

from orchestrator.domain.placement import CandidateSet, Placement, PlacementRequest, PolicyOptions, Residency
from orchestrator.domain.placement.warm import estimated_load_s


@pytest.fixture
def placement() -> Placement:
    return Placement(rand=random.Random(1).random)


def test_warm_nodes_come_first(placement):
    nodes = make_nodes(20, loaded=[])
    nodes[7].set_loaded({MODEL: Residency()})
    candidates = CandidateSet(nodes, MODEL)
    assert {placement.choose(candidates, ANY, 0.0).id for _ in range(50)} == {"n7"}


def test_nodes_that_do_not_tell_count_as_warm(placement):
    nodes = make_nodes(5, loaded=[])
    nodes[3].set_loaded(None)
    assert placement.choose(CandidateSet(nodes, MODEL), ANY, 0.0) is nodes[3]


def test_the_second_request_joins_the_load_that_the_first_began(placement):
    nodes = make_nodes(6, loaded=[])
    candidates = CandidateSet(nodes, MODEL)
    first = placement.choose(candidates, ANY, 0.0)
    first.begin(MODEL)
    assert {placement.choose(candidates, ANY, 0.0) for _ in range(20)} == {first}
    first.set_loaded({})  # a probe made before the load is done
    assert {placement.choose(candidates, ANY, 0.0) for _ in range(20)} == {first}
    first.finish(MODEL, good(9.0, ttft=7.0), 9.0)
    assert first.load_cost[MODEL] == 7.0


def test_a_probe_that_asked_before_the_answer_does_not_unload_the_model(placement):
    [node] = make_nodes(1, loaded=[])
    node.begin(MODEL)
    node.finish(MODEL, good(1.0), 5.0)
    node.set_loaded({}, asked=4.9)
    assert MODEL in node.loaded
    node.set_loaded({}, asked=5.1)  # this one asked later: the node has put it out
    assert MODEL not in node.loaded


def test_a_failed_load_leaves_the_node_cold(placement):
    nodes = make_nodes(2, loaded=[])
    nodes[0].begin(MODEL)
    nodes[0].finish(MODEL, bad(), 1.0)
    assert nodes[0].loaded == {}
    assert not nodes[0].roster.holders(MODEL)


def full_and_cold(latency: float):
    nodes = make_nodes(2, slots=4, loaded=[])
    nodes[0].set_loaded({MODEL: Residency()})
    nodes[0].record(MODEL).succeed(0.0, good(latency), 0.0, 0)
    for _ in range(4):
        nodes[0].begin(MODEL)
    return nodes, CandidateSet(nodes, MODEL, size=8_000_000_000)  # a load takes about 10 s


@pytest.mark.parametrize(
    ("latency", "waiting", "waited", "may_wait", "loads"),
    [
        (4.0, 0, 0.0, True, False),  # 1 s until a slot is free: wait
        (4.0, 20, 0.0, True, True),  # 21 s: load
        (100.0, 0, 0.0, True, True),  # 25 s: load
        (4.0, 0, 11.0, True, True),  # has waited longer than a load takes
        (4.0, 0, 0.0, False, True),
    ],
)
def test_a_cold_node_only_when_the_wait_exceeds_the_load(placement, latency, waiting, waited, may_wait, loads):
    nodes, candidates = full_and_cold(latency)
    request = PlacementRequest(MODEL, waiting=waiting, waited_s=waited, may_wait=may_wait)
    assert placement.choose(candidates, request, 0.0) is (nodes[1] if loads else None)


def test_waiting_can_be_switched_off_and_the_load_cost_set():
    nodes, candidates = full_and_cold(4.0)
    for section in ({"wait": False}, {"loadCostMs": 500}):
        placement = Placement(options=PolicyOptions.parse({"warmFirst": section}), rand=lambda: 0.0)
        assert placement.choose(candidates, ANY, 0.0) is nodes[1]


def test_cold_loads_avoid_evicting_models_in_use(placement):
    nodes = make_nodes(3, loaded=["other"])
    nodes[0].begin("other")
    nodes[2].set_memory(24e9, 20e9)
    candidates = CandidateSet(nodes, MODEL, size=8_000_000_000)
    assert {placement.choose(candidates, ANY, 0.0) for _ in range(20)} == {nodes[2]}
    assert placement.choose(candidates, ANY, 0.0, exclude=["n2"]) is nodes[1]


def test_a_model_about_to_be_gone_counts_less(placement):
    nodes = make_nodes(2)
    nodes[0].set_loaded({MODEL: Residency(expires=50.0)})
    nodes[1].set_loaded({MODEL: Residency(expires=500.0)})
    nodes[1].begin("other")
    candidates = CandidateSet(nodes, MODEL)
    assert placement.choose(candidates, ANY, 49.0) is nodes[0]
    assert placement.choose(candidates, ANY, 51.0) is nodes[1]


@pytest.mark.parametrize(
    ("size", "seconds"), [(0, 10), (1e9, 3), (4e9, 5), (8e9, 10), (15e9, 20), (40e9, 40), (9e10, 80)]
)
def test_load_estimates(size, seconds):
    assert estimated_load_s(size) == seconds
