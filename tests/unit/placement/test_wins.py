"""What placement is for, in figures: the simulator's half of `benchmarks.warm` and `benchmarks.prefixes`."""

from __future__ import annotations

import random

import pytest
from chat_fleet import ChatFleet
from memory_fleet import MemoryFleet
from placement_fleet import MODEL, make_nodes

from orchestrator.domain.placement import CandidateSet, Placement, PlacementRequest, Residency

ZIPF = [1 / rank**1.1 for rank in range(1, 7)]


def served(policy: str, seed: int, rate: float) -> MemoryFleet:
    """1,000 requests for 6 models by 3 nodes with room for 2 each; a load takes 4 s, an answer 1.5 s."""
    rng = random.Random(seed)
    at, arrivals = 0.0, []
    for _ in range(1000):
        at += rng.expovariate(rate)
        arrivals.append((at, f"m{rng.choices(range(6), ZIPF)[0]}"))
    fleet = MemoryFleet(policy, random.Random(seed).random)
    fleet.run(arrivals)
    return fleet


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_warm_first_loads_a_fifth_and_starts_twice_as_soon(rate, seed):
    turns, busyness, warm = (served(name, seed, rate) for name in ("round_robin", "least_connections", "warm_first"))
    for other in (turns, busyness):
        assert warm.loads <= other.loads / 5
        assert warm.ttft(0.95) <= other.ttft(0.95) / 2


def test_models_that_fit_are_each_loaded_once():
    assert served("warm_first", 1, 0.5).loads == 6


def test_a_fleet_at_its_limit_does_not_thrash():
    """The most popular model and another one overload a node together: one of them has to move, and then it rests."""
    assert max(served("warm_first", seed, 4.0).loads for seed in range(1, 6)) <= 50


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_turns_land_where_their_prefix_lives(replicas, seed):
    fleet = ChatFleet("prefix_affinity", seed, replicas=replicas)
    fleet.run()
    assert fleet.hit_rate >= 0.8
    assert fleet.imbalance <= 1.25


@pytest.mark.parametrize("policy", ["round_robin", "least_connections", "warm_first"])
def test_other_policies_spread_turns_by_chance(policy):
    fleet = ChatFleet(policy, 1)
    fleet.run()
    assert fleet.hit_rate < 0.4


def test_a_load_goes_where_there_is_room_though_no_node_tells():
    nodes = make_nodes(2)
    for node in nodes:
        node.set_loaded({"a": Residency(4e9)})
        node.set_loaded({"a": Residency(4e9), "b": Residency(4e9)})
        node.begin("c")
        node.set_loaded({"b": Residency(4e9), "c": Residency(4e9)})  # "a" had to go: two fit, three do not
    nodes[1].set_loaded({"c": Residency(4e9)})
    placement = Placement(rand=random.Random(1).random)
    candidates = CandidateSet(nodes, MODEL, size=4_000_000_000)
    assert {placement.choose(candidates, PlacementRequest(MODEL), 0.0) for _ in range(20)} == {nodes[1]}


def test_of_two_full_nodes_the_one_whose_models_idled_longest():
    nodes = make_nodes(2, slots=4)
    for node, last in zip(nodes, (100.0, 10.0), strict=True):
        node.crowded = True
        node.set_loaded({"a": Residency(4e9)})
        node.record("a").at = last
    placement = Placement(rand=random.Random(1).random)
    candidates = CandidateSet(nodes, MODEL, size=4_000_000_000)
    assert {placement.choose(candidates, PlacementRequest(MODEL), 110.0) for _ in range(20)} == {nodes[1]}


def test_a_forgotten_node_has_no_prefixes():
    nodes = make_nodes(20, slots=50)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("prefix_affinity", rand=random.Random(1).random)
    request = PlacementRequest(MODEL, prefix=(1, 2, 3))
    home = placement.choose(candidates, request, 0.0)
    away = placement.choose(candidates, request, 0.0, exclude=[home.id])
    assert placement.choose(candidates, request, 0.0) is away
    placement.forget(away.id)
    assert placement.choose(candidates, request, 0.0) is home


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_fleet_that_starts_cold_gives_chats_to_all_of_its_nodes(seed):
    fleet = ChatFleet("prefix_affinity", seed, chats=200, cold=True)
    fleet.run()
    assert fleet.hit_rate >= 0.8
    assert fleet.imbalance <= 1.25


def test_a_single_chat_stays_where_the_model_is():
    """No load is begun for it, though other nodes hold nothing; with more requests than holders one is."""
    nodes = make_nodes(4, slots=50, loaded=[])
    nodes[0].set_loaded({MODEL: Residency(4e9)})
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("prefix_affinity", rand=random.Random(1).random)
    chats = [PlacementRequest(MODEL, prefix=(number * 7919,)) for number in range(40)]
    assert {placement.choose(candidates, chat, 0.0) for chat in chats[:20]} == {nodes[0]}
    nodes[0].begin(MODEL)
    assert len({placement.choose(candidates, chat, 0.0) for chat in chats[20:]}) > 1
    for node in nodes[1:]:
        node.set_loaded({"other": Residency(4e9)})  # a load may put that out
    more = [PlacementRequest(MODEL, prefix=(number * 7919,)) for number in range(40, 60)]
    assert {placement.choose(candidates, chat, 0.0) for chat in more} == {nodes[0]}
