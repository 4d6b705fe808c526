"""Traffic on a virtual clock: what the policies are for."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil

import pytest
from placement_fleet import ANY, MODEL, Simulation, bad, good, make_nodes

from orchestrator.domain.placement import (
    POLICIES,
    CandidateSet,
    NodeState,
    Outcome,
    Placement,
    PlacementRequest,
    Residency,
    prefix_chain,
)

RESIDENT = Residency()


@pytest.mark.parametrize("rate", [5, 40])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_fast_failing_node_gets_under_two_percent(policy, rate):
    """503 in 5 ms next to 500 ms, no breaker; the slow node has the slots for the whole load, but only just."""
    rng = random.Random(5)
    nodes = make_nodes(2, slots=rate // 2 + 8)
    candidates = CandidateSet(nodes, MODEL)
    simulation = Simulation(
        Placement(policy, rand=rng.random), lambda node, _: bad() if node is nodes[0] else good(0.5)
    )
    times = [second + rng.random() for second in range(60) for _ in range(rate)]
    simulation.run((at, candidates, PlacementRequest(MODEL, prefix=(i % 7,))) for i, at in enumerate(sorted(times)))
    after = [node for at, node in simulation.log if at >= 1.0]
    assert after.count("n0") / len(after) < 0.02


def test_requests_wait_for_the_healthy_node_when_it_is_full():
    nodes = make_nodes(2, slots=2)
    candidates = CandidateSet(nodes, MODEL)
    simulation = Simulation(
        Placement(rand=random.Random(2).random), lambda node, _: bad() if node is nodes[0] else good(0.5)
    )
    simulation.run((i / 8, candidates, ANY) for i in range(240))
    assert simulation.sent["n0"] / 240 < 0.05


def test_a_recovered_node_gets_its_share_back():
    nodes = make_nodes(2, slots=20)
    candidates = CandidateSet(nodes, MODEL)
    simulation = Simulation(
        Placement(rand=random.Random(2).random),
        lambda node, _: bad() if node is nodes[0] and simulation.now < 10 else good(0.5),
    )
    simulation.run((i / 10, candidates, ANY) for i in range(3000))
    late = [node for at, node in simulation.log if at > 240]
    assert 0.35 < late.count("n0") / len(late) < 0.65


def loads(policy: str) -> tuple[int, float]:
    """Model loads and the 95th percentile of the answer time: 3 nodes that hold 2 of 6 models each, Zipf traffic."""
    rng = random.Random(9)
    nodes = make_nodes(3, loaded=[])
    models = [f"m{i}" for i in range(6)]
    sets = {model: CandidateSet(nodes, model, size=8_000_000_000) for model in models}
    memory: dict[str, list[str]] = {node.id: [] for node in nodes}
    count, times = 0, []

    def serve(node: NodeState, model: str) -> Outcome:
        nonlocal count
        held = memory[node.id]
        seconds = 0.4
        if model in held:
            held.remove(model)
        else:
            count += 1
            seconds += 5.0
            del held[:-1]
            node.set_loaded(dict.fromkeys([*held, model], RESIDENT))
        held.append(model)
        times.append(seconds)
        return good(seconds)

    weights = [1 / (rank + 1) for rank in range(6)]
    placement = Placement(policy, rand=rng.random)
    chosen = rng.choices(models, weights, k=1000)
    Simulation(placement, serve).run((i / 2.5, sets[m], PlacementRequest(m)) for i, m in enumerate(chosen))
    return count, sorted(times)[950]


def test_warm_first_loads_far_less_than_round_robin():
    warm, warm_p95 = loads("warm_first")
    turns, turns_p95 = loads("round_robin")
    assert warm < turns / 4
    assert warm_p95 <= turns_p95


def test_growing_chats_stick_to_their_node():
    rng = random.Random(3)
    nodes = make_nodes(10, slots=8)
    candidates = CandidateSet(nodes, MODEL)
    system = "You are a helpful assistant. " * 200
    chats = [[system, f"question {i}"] for i in range(60)]
    last: dict[int, str] = {}
    placement = Placement("prefix_affinity", rand=rng.random)
    hits = turns = 0
    running: list[NodeState] = []
    for turn in range(1500):
        chat = rng.randrange(60)
        opening = prefix_chain(chats[chat][:2])[-1]  # as the gateway has it: the system prompt alone is no prefix
        prefix = (opening, *prefix_chain(chats[chat][2:], opening))
        node = placement.choose(candidates, PlacementRequest(MODEL, prefix=prefix), float(turn))
        assert node is not None
        node.begin(MODEL)
        running.append(node)
        if len(running) > 20:
            running.pop(rng.randrange(20)).finish(MODEL, good(), float(turn))
        if chat in last:
            turns += 1
            hits += last[chat] == node.id
        last[chat] = node.id
        chats[chat] += [f"answer {turn}", f"and then? {turn}"]
    assert hits / turns >= 0.8
    assert len(set(last.values())) >= 8  # and yet all share the work


def test_bounded_load_holds_for_one_popular_prefix():
    nodes = make_nodes(10, slots=100)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("prefix_affinity", rand=random.Random(3).random)
    for count in range(1, 301):
        node = placement.choose(candidates, PlacementRequest(MODEL, prefix=(42,)), 0.0)
        node.begin(MODEL)
        mean = count / 10
        assert max(n.in_flight for n in nodes) <= ceil(max(1.25 * mean, mean + 4))


def test_learned_finds_the_fast_nodes_and_notices_a_change():
    rng = random.Random(8)
    nodes = make_nodes(8, slots=4)
    candidates = CandidateSet(nodes, MODEL)
    fast = {"n2", "n5"}

    def serve(node: NodeState, _: str) -> Outcome:
        chosen = fast if simulation.now < 300 else {"n0", "n1"}
        return good((0.2 if node.id in chosen else 2.0) * rng.uniform(0.8, 1.2))

    simulation = Simulation(Placement("learned", rand=rng.random), serve)
    simulation.run((i / 5, candidates, ANY) for i in range(6000))
    settled = Counter(node for at, node in simulation.log if 60 < at < 300)
    assert sum(settled[id] for id in fast) / settled.total() > 0.75
    later = Counter(node for at, node in simulation.log if at > 900)
    assert (later["n0"] + later["n1"]) / later.total() > 0.6


def test_warm_first_gives_a_faster_node_more_work():
    rng = random.Random(8)
    nodes = make_nodes(2, slots=16, loaded=[MODEL])
    candidates = CandidateSet(nodes, MODEL)

    def serve(node: NodeState, _: str) -> Outcome:
        speed = 80.0 if node is nodes[0] else 20.0
        return Outcome(True, 0.1 + 100 / speed, 0.1, 100)

    simulation = Simulation(Placement(rand=rng.random), serve)
    simulation.run((i / 4, candidates, ANY) for i in range(800))
    assert simulation.sent["n0"] > 2 * simulation.sent["n1"]
