"""What holds for every policy, and what each one promises."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_fleet import ANY, MODEL, bad, good, make_nodes

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.placement import (
    POLICIES,
    CandidateSet,
    Outcome,
    Placement,
    PlacementRequest,
    PolicyOptions,
    Rejection,
    Residency,
    policy_name,
)

every_policy = pytest.mark.parametrize("policy", sorted(POLICIES))
UNIFORM = (
    "random",
    "least_connections",
    "power_of_two",
    "resource_aware",
    "fastest_response",
    "warm_first",
    "weighted",
)

LEFT = Outcome(ok=None, duration_s=0.1)


def chi_square(counts: list[int]) -> float:
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 / mean for count in counts)


@st.composite
def histories(draw):
    """A fleet and what happens to it: (step, node or request number, seconds)."""
    size = draw(st.sampled_from((1, 2, 5, 40)))
    slots = draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))
    step = st.tuples(
        st.sampled_from(("choose", "choose", "choose", "ok", "fail", "gone", "left", "resize", "load")),
        st.integers(0, 200),
        st.floats(0, 20),
    )
    return slots, draw(st.lists(step, max_size=60)), draw(st.integers(0, 2**32))


@every_policy
@settings(max_examples=40, deadline=None)
@given(history=histories())
def test_never_picks_a_full_or_excluded_node_and_never_miscounts(policy, history):
    slots, steps, seed = history
    rng = random.Random(seed)
    nodes = make_nodes(len(slots))
    for node, count in zip(nodes, slots, strict=True):
        node.resize(count)
    candidates = CandidateSet(nodes[: max(1, len(nodes) - 1)], MODEL)
    placement = Placement(policy, rand=rng.random)
    running, now = [], 0.0
    for step, number, seconds in steps:
        if step == "choose":
            exclude = {node.id for node in nodes if (number >> node.index % 8) & 1} if number % 2 else set()
            request = PlacementRequest(MODEL, prefix=(number % 5, number), session=str(number % 3), may_wait=False)
            free = [n for n in candidates.nodes if n.in_flight < n.max_concurrency and n.id not in exclude]
            node = placement.choose(candidates, request, now, exclude=exclude)
            if node is None:
                # Either nothing is free, or what is free rests while a node that does not is merely full.
                assert all(n.rests or n.trials for n in free)
                continue
            assert node in free
            node.begin(MODEL, 10)
            running.append(node)
        elif step == "resize":
            nodes[number % len(nodes)].resize(1 + number % 4)
        elif step == "load":
            nodes[number % len(nodes)].set_loaded([None, {}, {MODEL: Residency()}][number % 3])
        elif running:
            now += seconds
            outcome = {"ok": good(seconds), "fail": bad(), "gone": bad(status=0), "left": LEFT}[step]
            running.pop(number % len(running)).finish(MODEL, outcome, now, 10)
        held = Counter(node.id for node in running)
        assert {n.id: n.in_flight for n in nodes if n.in_flight} == dict(held)
        assert all(n.reserved_tokens == 10 * n.in_flight for n in nodes)
    for node in running:
        node.finish(MODEL, good(), now, 10)
    assert all(not n.in_flight and not n.in_flight_by_model and not n.reserved_tokens for n in nodes)
    assert not any(nodes[0].roster.in_flight.values())


@every_policy
def test_answers_none_when_all_are_full_and_recovers(policy):
    nodes = make_nodes(3, slots=1)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement(policy, rand=random.Random(1).random)
    for _ in nodes:
        node = placement.choose(candidates, ANY, 0.0)
        assert node is not None
        node.begin(MODEL)
    assert placement.choose(candidates, ANY, 0.0) is None
    nodes[1].finish(MODEL, good(), 1.0)
    assert placement.choose(candidates, ANY, 1.0) is nodes[1]
    assert placement.choose(CandidateSet([], MODEL), ANY, 1.0) is None


@every_policy
def test_same_seed_same_choices(policy):
    def choices() -> list[str]:
        nodes = make_nodes(20)
        candidates = CandidateSet(nodes, MODEL)
        placement = Placement(policy, rand=random.Random(7).random)
        found = []
        for turn in range(60):
            node = placement.choose(candidates, PlacementRequest(MODEL, prefix=(turn % 9,)), turn / 10)
            assert node is not None
            node.begin(MODEL)
            found.append(node.id)
        return found

    assert choices() == choices()


@pytest.mark.parametrize("size", [7, 40, 130])
@pytest.mark.parametrize("policy", UNIFORM)
def test_equals_are_drawn_evenly(policy, size):
    candidates = CandidateSet(make_nodes(size), MODEL)
    placement = Placement(policy, rand=random.Random(3).random)
    picks = Counter(placement.choose(candidates, ANY, 0.0).id for _ in range(100 * size))
    # The mean of chi-square is size - 1, its variance twice that: five standard deviations.
    assert chi_square([picks[node.id] for node in candidates.nodes]) < size + 5 * (2 * size) ** 0.5


def test_equals_are_drawn_evenly_when_most_nodes_are_full():
    nodes = make_nodes(300, slots=1)
    free = [node for node in nodes if node.index in (0, 1, 2, 150, 299)]
    for node in nodes:
        if node not in free:
            node.begin(MODEL)
    candidates = CandidateSet(nodes, MODEL)
    for policy in ("random", "power_of_two", "least_connections", "warm_first"):
        placement = Placement(policy, rand=random.Random(5).random)
        picks = Counter(placement.choose(candidates, ANY, 0.0).id for _ in range(1000))
        assert chi_square([picks[node.id] for node in free]) < 20, policy


@every_policy
def test_a_better_node_gets_more(policy):
    """Among nodes of equal promise but one that fails every second request, that one gets less than its share."""
    rng = random.Random(11)
    nodes = make_nodes(4, slots=8)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement(policy, rand=rng.random)
    picks = Counter()
    for turn in range(2000):
        node = placement.choose(candidates, PlacementRequest(MODEL, prefix=(turn,)), turn / 10)
        node.begin(MODEL)
        picks[node.id] += 1
        failed = node is nodes[0] and rng.random() < 0.5
        node.finish(MODEL, bad() if failed else good(rng.uniform(0.9, 1.1)), turn / 10)
    assert picks["n0"] < 2000 / 4 * 0.9


def test_round_robin_takes_turns_and_skips_full_nodes():
    nodes = make_nodes(4, slots=1)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("round_robin", rand=lambda: 0.0)
    assert [placement.choose(candidates, ANY, 0.0).id for _ in range(5)] == ["n0", "n1", "n2", "n3", "n0"]
    nodes[1].begin(MODEL)
    assert [placement.choose(candidates, ANY, 0.0).id for _ in range(3)] == ["n2", "n3", "n0"]


def test_round_robin_sessions_stick_for_their_time():
    options = PolicyOptions.parse({"roundRobin": {"stickySessionsTtlMs": 5000}})
    candidates = CandidateSet(make_nodes(4), MODEL)
    placement = Placement("round_robin", options, rand=lambda: 0.0)
    request = PlacementRequest(MODEL, session="s")
    assert [placement.choose(candidates, request, now).id for now in (0, 4, 8, 14)] == ["n0", "n0", "n0", "n1"]


def test_weighted_round_robin_is_exact_and_smooth():
    candidates = CandidateSet(make_nodes(3, weights=(5, 3, 2)), MODEL)
    placement = Placement("weighted_round_robin", rand=random.Random(2).random)
    picks = [placement.choose(candidates, ANY, 0.0).id for _ in range(1000)]
    counts = Counter(picks)
    assert all(abs(counts[id] - share) <= 1 for id, share in (("n0", 500), ("n1", 300), ("n2", 200)))
    assert "n0n0n0" not in "".join(picks)


def test_weighted_round_robin_owes_nothing_to_a_node_that_was_full():
    nodes = make_nodes(2, slots=1)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("weighted_round_robin", rand=random.Random(2).random)
    nodes[0].begin(MODEL)
    assert {placement.choose(candidates, ANY, 0.0).id for _ in range(50)} == {"n1"}
    nodes[0].finish(MODEL, good(), 1.0)
    counts = Counter(placement.choose(candidates, ANY, 1.0).id for _ in range(20))
    assert abs(counts["n0"] - 10) <= 1


def test_random_follows_the_weights_also_when_few_are_free():
    nodes = make_nodes(100, slots=1, weights=[1.0] * 98 + [1.0, 3.0])
    for node in nodes[:98]:
        node.begin(MODEL)
    placement = Placement("random", rand=random.Random(4).random)
    picks = Counter(placement.choose(CandidateSet(nodes, MODEL), ANY, 0.0).id for _ in range(2000))
    assert 0.70 < picks["n99"] / 2000 < 0.80


def test_least_connections_counts_slots_not_requests():
    nodes = make_nodes(2)
    nodes[1].resize(16)
    nodes[0].begin(MODEL)
    nodes[1].begin(MODEL)
    nodes[1].begin(MODEL)
    candidates = CandidateSet(nodes, MODEL)
    assert Placement("least_connections", rand=lambda: 0.5).choose(candidates, ANY, 0.0) is nodes[1]
    raw = PolicyOptions.parse({"leastConnections": {"considerCapacity": False}})
    assert Placement("least_connections", raw, rand=lambda: 0.5).choose(candidates, ANY, 0.0) is nodes[0]


def test_resource_aware_prefers_memory_that_fits():
    nodes = make_nodes(4, loaded=["other"])
    for node, free in zip(nodes, (1e9, 20e9, None, 2e9), strict=True):
        node.set_memory(24e9, free)
    placement = Placement("resource_aware", rand=random.Random(1).random)
    candidates = CandidateSet(nodes, MODEL, size=8_000_000_000)
    assert placement.choose(candidates, ANY, 0.0) is nodes[1]
    nodes[3].set_loaded({MODEL: Residency()})
    assert placement.choose(candidates, ANY, 0.0) is nodes[3]


def test_time_policies_take_the_faster_node_until_it_is_busier():
    nodes = make_nodes(2, slots=50)
    for node, seconds in zip(nodes, (0.2, 2.0), strict=True):
        node.begin(MODEL)
        node.finish(MODEL, good(seconds), 0.0)
    candidates = CandidateSet(nodes, MODEL)
    for policy in ("latency_optimized", "fastest_response"):
        assert Placement(policy, rand=lambda: 0.5).choose(candidates, ANY, 0.1) is nodes[0]
    for _ in range(10):
        nodes[0].begin(MODEL)
    assert Placement("latency_optimized", rand=lambda: 0.5).choose(candidates, ANY, 0.1) is nodes[1]


def test_an_avoided_slow_node_is_tried_again():
    nodes = make_nodes(2, slots=50)
    for node, seconds in zip(nodes, (0.5, 5.0), strict=True):
        node.begin(MODEL)
        node.finish(MODEL, good(seconds), 0.0)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("latency_optimized", rand=lambda: 0.5)
    tried = 0
    for second in range(1, 600):
        node = placement.choose(candidates, ANY, float(second))
        node.begin(MODEL)
        node.finish(MODEL, good(0.5 if node is nodes[0] else 5.0), float(second))
        tried += node is nodes[1]
    assert 1 <= tried < 30


def test_equal_latency_prefers_the_better_success_rate():
    """The contract's default balancer chose success rate 0.2 over 1.0."""
    nodes = make_nodes(2)
    for node in nodes:
        node.record(MODEL).succeed(0.0, good(1.0), 0.0, 0)
    nodes[0].record(MODEL).failure = 0.8
    for policy in ("fastest_response", "weighted", "least_connections", "warm_first", "latency_optimized"):
        placement = Placement(policy, rand=random.Random(1).random)
        chosen = {placement.choose(CandidateSet(nodes, MODEL), ANY, 0.0).id for _ in range(50)}
        assert chosen == {"n1"}, policy


def test_large_fleets_find_the_single_best_node_after_changes():
    nodes = make_nodes(500, slots=4)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("least_connections", rand=random.Random(1).random)
    for node in nodes:
        node.begin(MODEL)
    placement.choose(candidates, ANY, 0.0)
    for best in (nodes[3], nodes[499], nodes[250]):
        best.finish(MODEL, good(), 0.0)
        assert placement.choose(candidates, ANY, 0.0) is best
        assert placement.choose(candidates, ANY, 0.0, exclude=[best.id]) is not best
        assert placement.choose(candidates, ANY, 0.0) is best
        best.begin(MODEL)


def test_policies_switch_live_and_per_request():
    candidates = CandidateSet(make_nodes(3), MODEL)
    placement = Placement(rand=lambda: 0.0)
    assert placement.policy == "warm_first"
    placement.use("round-robin")
    assert placement.policy == "round_robin"
    assert placement.choose(candidates, ANY, 0.0, policy="Least-Connections") is not None
    placement.configure(PolicyOptions(default_latency_ms=5.0))
    assert (placement.policy, placement.options.default_latency_ms) == ("round_robin", 5.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fastest-response", "fastest_response"),
        ("round-robin", "round_robin"),
        ("least-connections", "least_connections"),
        ("streaming-optimized", "latency_optimized"),
        (" Random ", "random"),
    ],
)
def test_contract_names_are_understood(name, expected):
    assert policy_name(name) == expected


def test_unknown_policy_gets_a_suggestion():
    with pytest.raises(InvalidRequest, match="did you mean 'round_robin'"):
        policy_name("roundrobin")


@every_policy
def test_explain_lists_every_candidate_with_its_reason(policy):
    nodes = make_nodes(5, slots=1, loaded=[MODEL])
    nodes[1].begin(MODEL)
    for _ in range(2):
        nodes[2].begin(MODEL)
        nodes[2].finish(MODEL, bad(), 0.0)
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement(policy, rand=random.Random(1).random)
    rows = placement.explain(candidates, ANY, 0.1, exclude=["n3"])
    reasons = {row.node: row.reason for row in rows}
    assert reasons == {
        "n0": None,
        "n1": Rejection.NO_ROOM,
        "n2": Rejection.FAILING,
        "n3": Rejection.EXCLUDED,
        "n4": None,
    }
    assert [row.reason for row in rows[:2]] == [None, None]
    assert rows[0].cost <= rows[1].cost
    placement.choose(candidates, ANY, 0.1)
    assert {row.node for row in placement.explain(candidates, ANY, 0.1)} == set(reasons)
