"""Counters, residency, records and rests of nodes."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from placement_fleet import ANY, MODEL, bad, good, make_nodes

from orchestrator.domain.placement import CandidateSet, Outcome, Placement, Residency, Roster
from orchestrator.domain.placement.bits import draw, lowest, members, nth


@given(st.sets(st.integers(0, 1200), min_size=1))
def test_bit_sets_agree_with_sets(indexes):
    mask = sum(1 << index for index in indexes)
    ordered = sorted(indexes)
    assert list(members(mask)) == ordered
    assert lowest(mask) == ordered[0]
    assert [nth(mask, k) for k in range(len(ordered))] == ordered
    rng = random.Random(len(ordered))
    assert {draw(mask, rng.random) for _ in range(5)} <= indexes


def test_a_second_finish_gives_no_extra_room():
    (node,) = make_nodes(1)
    node.begin(MODEL, 100)
    node.finish(MODEL, good(), 1.0, 100)
    node.finish(MODEL, good(), 1.0, 100)
    node.finish("other", good(), 1.0)
    assert (node.in_flight, node.reserved_tokens, node.in_flight_by_model) == (0, 0, {})


def test_failures_and_abandoned_or_wrong_requests_never_look_fast():
    (node,) = make_nodes(1)
    for outcome in (bad(), Outcome(None, 0.001), Outcome(True, 0.001, status=400), good(2.0)):
        node.begin(MODEL)
        node.finish(MODEL, outcome, 1.0)
    record = node.records[MODEL]
    assert (record.samples, record.latency, record.p95) == (1, 2.0, 2.0)
    assert 0.0 < record.failure_rate(1.0) < 0.5


def test_abandoned_requests_say_nothing_about_the_node():
    (node,) = make_nodes(1)
    node.begin(MODEL)
    node.finish(MODEL, Outcome(None, 9.0), 1.0)
    assert node.records == {}
    assert node.last_failure is None


def test_peak_ewma_jumps_up_and_comes_down_slowly():
    (node,) = make_nodes(1)
    values = []
    for second, seconds in enumerate([1.0, 8.0, 1.0, 1.0, 1.0] + [1.0] * 60):
        node.begin(MODEL)
        node.finish(MODEL, good(seconds), float(second))
        values.append(node.records[MODEL].latency)
    assert values[:2] == [1.0, 8.0]
    assert all(after < before for before, after in pairwise(values[1:20]))
    assert values[3] > 4.0
    assert values[-1] < 1.1


def test_p95_estimate_is_near_the_real_one():
    (node,) = make_nodes(1)
    rng = random.Random(1)
    for second in range(5000):
        node.begin(MODEL)
        node.finish(MODEL, good(rng.expovariate(1.0)), float(second))
    assert 2.2 < node.records[MODEL].p95 < 4.2  # -ln(0.05) = 3.0


def test_speed_is_measured_after_the_first_token():
    (node,) = make_nodes(1)
    node.begin(MODEL)
    node.finish(MODEL, good(3.0, tokens=100, ttft=1.0), 1.0)
    assert node.records[MODEL].tps == 50.0


def test_failure_fades_with_time():
    (node,) = make_nodes(1)
    node.begin(MODEL)
    node.finish(MODEL, bad(), 10.0)
    record = node.records[MODEL]
    assert record.failure_rate(10.0) == 0.5
    assert record.failure_rate(40.0) == 0.25


def test_rests_grow_and_end_with_one_request_at_a_time():
    nodes = make_nodes(2)
    sick, _ = nodes
    candidates = CandidateSet(nodes, MODEL)
    placement = Placement("round_robin", rand=lambda: 0.0)

    def gets(now: float) -> bool:
        return any(placement.choose(candidates, ANY, now) is sick for _ in range(4))

    for _ in range(2):
        sick.begin(MODEL)
        sick.finish(MODEL, bad(), 0.0)
    assert not gets(0.49)
    assert sick.roster.next_rest_end(candidates.mask) == 0.5
    assert gets(0.5)
    sick.begin(MODEL)
    assert not gets(0.6)  # one trial at a time
    sick.finish(MODEL, bad(), 0.6)
    assert not gets(2.09)
    assert gets(2.1)
    sick.begin(MODEL)
    sick.finish(MODEL, Outcome(None, 0.1), 2.2)  # the client left: still on trial
    assert gets(2.2)
    sick.begin(MODEL)
    sick.finish(MODEL, good(), 2.5)
    sick.begin(MODEL)
    assert gets(2.5)


def test_a_rest_is_for_one_model_unless_the_node_does_not_answer():
    nodes = make_nodes(2)
    other = CandidateSet(nodes, "other")
    placement = Placement("round_robin", rand=lambda: 0.0)
    for status, spared in ((503, True), (0, False)):
        for _ in range(2):
            nodes[0].begin(MODEL)
            nodes[0].finish(MODEL, bad(status), 0.0)
        picks = {placement.choose(other, ANY, 0.0).id for _ in range(4)}
        assert ("n0" in picks) is spared


def test_when_all_fail_all_are_used():
    nodes = make_nodes(2)
    for node in nodes:
        for _ in range(3):
            node.begin(MODEL)
            node.finish(MODEL, bad(), 0.0)
    for policy in ("warm_first", "least_connections", "learned"):
        placement = Placement(policy, rand=random.Random(1).random)
        assert placement.choose(CandidateSet(nodes, MODEL), ANY, 0.0) is not None
    nodes[0].forgive()
    assert placement.choose(CandidateSet(nodes, MODEL), ANY, 0.0) is nodes[0]


def test_a_node_that_left_touches_nothing():
    roster = Roster()
    old, stays = roster.join("old", max_concurrency=1), roster.join("stays")
    old.set_loaded({MODEL: Residency()})
    old.begin(MODEL)
    roster.leave(old)
    roster.leave(old)
    fresh = roster.join("fresh", max_concurrency=1)
    assert fresh.index == old.index
    fresh.begin(MODEL)
    old.finish(MODEL, bad(status=0), 1.0)
    assert Placement(rand=lambda: 0.0).choose(CandidateSet([fresh], MODEL), ANY, 1.0) is None
    assert roster.in_flight[MODEL] == 1
    assert CandidateSet([fresh, stays], MODEL).mask == fresh.bit | stays.bit


def test_resize_below_the_load_takes_the_room_away():
    (node,) = make_nodes(1)
    candidates = CandidateSet([node], MODEL)
    placement = Placement(rand=lambda: 0.0)
    for _ in range(3):
        node.begin(MODEL)
    node.resize(2)
    for left in (2, 1):
        assert placement.choose(candidates, ANY, 0.0) is None
        node.finish(MODEL, good(), 0.0)
        assert node.in_flight == left
    assert placement.choose(candidates, ANY, 0.0) is node
