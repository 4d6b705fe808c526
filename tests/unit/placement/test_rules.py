"""The contract's score, options, reasons and prefix chains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from placement_fleet import MODEL, good, make_nodes

from orchestrator.domain.errors import ConfigurationError, ModelNotFound, NoNode, QueueFull, Unsupported
from orchestrator.domain.node import AdminState
from orchestrator.domain.placement import (
    CandidateSet,
    NodeState,
    PolicyOptions,
    Rejection,
    Residency,
    eligibility,
    no_candidate,
    prefix_chain,
    weighted_parts,
    weighted_score,
)
from orchestrator.domain.placement.board import Board


def contract_node() -> NodeState:
    (node,) = make_nodes(1)
    record = node.record(MODEL)
    record.succeed(0.0, good(0.1, tokens=1), 0.0, 0)
    record.failure = 0.1
    node.begin(MODEL)
    node.begin("other")
    return node


def score(node: NodeState) -> float:
    options = PolicyOptions()
    return weighted_score(weighted_parts(node, MODEL, 0.0, options), options)


def test_the_contracts_worked_check():
    """p95 100 ms, success .9, 1 in flight of 2 in total of 4, 10 tokens/s: 68.25."""
    assert score(contract_node()) == pytest.approx(68.25)


def test_unknown_throughput_is_not_punished():
    node = contract_node()
    slow = score(node)
    node.records[MODEL].tps = 0.0
    unknown = score(node)
    node.records[MODEL].tps = 500.0
    assert slow < unknown < score(node)


def test_parts_stay_between_0_and_100():
    node = contract_node()
    record = node.records[MODEL]
    record.p95, record.streak, record.timeout_s = 90.0, 50, 900.0
    for _ in range(9):
        node.begin(MODEL)
    parts = weighted_parts(node, MODEL, 0.0, PolicyOptions())
    assert all(0.0 <= part <= 100.0 for part in parts.values())
    assert {parts[name] for name in ("latency", "capacity", "load", "circuit_breaker", "timeout")} == {0.0}
    record.half_open = True
    node.set_loaded({"other": Residency()})
    node.set_memory(24e9, 4.8e9)
    node.in_flight_by_model.clear()
    node.set_loaded({"other": Residency()})
    parts = weighted_parts(node, MODEL, 0.0, PolicyOptions(), size=8_000_000_000)
    assert (parts["circuit_breaker"], parts["vram"]) == (20.0, 50.0)


def test_options_read_the_contracts_section():
    options = PolicyOptions.parse(
        {
            "weights": {"latency": 0.35, "successRate": 1},
            "thresholds": {"maxP95Latency": 9000},
            "latencyBlendRecent": 0.5,
            "leastConnections": {"failureRatePenalty": 3, "skipUnhealthy": True},
            "crossModelInference": {"enabled": True},
            "prefix_affinity": {"sticky_load": 3},
        }
    )
    assert (options.weights.latency, options.weights.success_rate, options.weights.load) == (0.35, 1.0, 0.2)
    assert options.thresholds.max_p95_latency == 9000.0
    assert options.latency_blend_recent == 0.5
    assert options.least_connections.failure_rate_penalty == 3.0
    assert options.prefix_affinity.sticky_load == 3


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"weights": {"load": "much"}}, r"loadBalancer.weights.load must be a number"),
        ({"weights": {"load": -1}}, "at least 0"),
        ({"weights": {"load": float("nan")}}, "at least 0"),
        ({"weights": 1}, "loadBalancer.weights must be a section"),
        ({"leastConnections": {"considerCapacity": 1}}, "true or false"),
    ],
)
def test_options_refuse_nonsense(section, message):
    with pytest.raises(ConfigurationError, match=message):
        PolicyOptions.parse(section)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"healthy": False}, Rejection.UNHEALTHY),
        ({"admin_state": AdminState.DRAINING, "healthy": False}, Rejection.DRAINING),
        ({"admin_state": AdminState.MAINTENANCE}, Rejection.MAINTENANCE),
        ({"has_model": False, "banned": True}, Rejection.MODEL_MISSING),
        ({"has_capability": False}, Rejection.CAPABILITY_MISSING),
        ({"banned": True}, Rejection.BANNED),
        ({"breaker_open": True}, Rejection.BREAKER_OPEN),
        ({"excluded": True, "room": False}, Rejection.EXCLUDED),
        ({"failing": True}, Rejection.FAILING),
        ({"room": False}, Rejection.NO_ROOM),
    ],
)
def test_the_first_reason_counts(facts, reason):
    assert eligibility(**{"healthy": True, **facts}) is reason


@pytest.mark.parametrize(
    ("reasons", "error", "text"),
    [
        ([], ModelNotFound, "not found on any server"),
        (["model_missing", "model_missing"], ModelNotFound, "'m' not found"),
        (["model_missing", "capability_missing"], Unsupported, "No servers support"),
        (["no_room", "no_room", "model_missing"], QueueFull, "All servers at max concurrency"),
        (["excluded", "no_room"], QueueFull, "All servers at max concurrency"),
        (["unhealthy", "unhealthy"], NoNode, "All servers with model 'm' are unhealthy"),
        (["banned"], NoNode, "are banned"),
        (["breaker_open"], NoNode, "open circuit breaker"),
        (["unhealthy", "banned", "unhealthy"], NoNode, "1 banned, 2 unhealthy"),
    ],
)
def test_errors_say_why(reasons, error, text):
    found = no_candidate("m", [Rejection(reason) for reason in reasons])
    assert type(found) is error
    assert text in found.message
    assert sum(found.details["reasons"].values()) == len(reasons)


@given(st.lists(st.text(max_size=3000), max_size=20), st.lists(st.text(max_size=3000), max_size=3))
def test_a_longer_chat_begins_with_the_chain_of_the_shorter(chat, more):
    chain = prefix_chain(chat)
    assert prefix_chain(chat + more)[: len(chain)] == chain


def test_chains_tell_prompts_apart_and_stay_short():
    assert prefix_chain(["ab", "c"])[-1] != prefix_chain(["a", "bc"])[-1]
    assert prefix_chain(["a"]) == prefix_chain([b"a"]) != prefix_chain(["a"], seed=1)
    long = [f"message {i}" for i in range(500)]
    assert len(prefix_chain(long)) == 48
    assert set(prefix_chain(long)[-3:]) & set(prefix_chain([*long, "next", "one"]))
    assert len(prefix_chain([b"x" * 20_000_000])) == 48
    assert prefix_chain([]) == ()


@given(st.integers(1, 150), st.lists(st.tuples(st.integers(0, 149), st.integers(0, 4)), max_size=200))
def test_a_board_always_knows_its_lowest_costs(size, steps):
    costs = [3.0] * size
    board = Board(CandidateSet(make_nodes(size), MODEL), lambda node: costs[node.index])
    for turn, (position, cost) in enumerate(steps):
        costs[position % size] = float(cost) if cost < 4 else float("inf")
        board.place(position % size, costs[position % size])
        found = board.least(lambda turn=turn: turn % 10 / 10)
        assert costs[found] == min(costs) if min(costs) < float("inf") else found == -1
