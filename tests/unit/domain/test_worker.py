"""Workers: what registrations, heartbeats, operators and results make of them; and where tasks may be pushed to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.task.requirements import Requirements, never, not_now
from orchestrator.domain.worker import (
    Agent,
    Heartbeat,
    Tally,
    Worker,
    WorkerStatus,
    heartbeat,
    lost,
    register,
    set_status,
)
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.domain.worker_report import read_heartbeat, read_registration

ACTIVE, MAINTENANCE, OFFLINE = WorkerStatus.ACTIVE, WorkerStatus.MAINTENANCE, WorkerStatus.OFFLINE
SILENT = Heartbeat()
statuses = st.sampled_from(WorkerStatus)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    *("host", "port", "node_type", "mode", "capabilities", "task_types", "labels", "max_concurrency", "agents"),
    *("agents_count", "version", "location", "metadata", "cpu_usage", "load_score", "memory_mb", "status"),
)


def test_a_new_registration_is_what_was_told() -> None:
    told = read_registration("n", {"host": "h", "port": 9, "capabilities": ["a", "a", "b"]}, 5.0)
    assert register(None, told) is told
    assert (told.host, told.port, told.capabilities) == ("h", 9, frozenset({"a", "b"}))
    assert (told.registered_at, told.up_since, told.heartbeat_at) == (5.0, 5.0, 5.0)


def test_registering_again_keeps_what_was_counted_and_what_an_operator_said() -> None:
    told = Worker("n", host="new", agents=(Agent("a"),), registered_at=9.0, up_since=9.0, owner="other", load_score=0.0)
    known = replace(
        Worker("n", host="old", agents=(Agent("a"), Agent("b")), registered_at=1.0, up_since=2.0, owner="first"),
        tasks_completed=5,
        tasks_failed=1,
        reliability=0.5,
        network_latency=3.0,
        task_seconds=4.0,
        load_score=0.9,
    )
    again = register(set_status(known, MAINTENANCE, 3.0), told)
    assert (again.host, again.agents, again.load_score) == ("new", (Agent("a"),), 0.0)
    assert (again.tasks_completed, again.tasks_failed, again.reliability) == (5, 1, 0.5)
    assert (again.network_latency, again.task_seconds, again.owner) == (3.0, 4.0, "first")
    assert (again.status, again.registered_at, again.up_since) == (MAINTENANCE, 1.0, 2.0)
    back = register(lost(known), told)
    assert (back.status, back.up_since) == (ACTIVE, 9.0)


@given(st.lists(st.tuples(st.sampled_from(["operator", "node", "silence"]), st.none() | statuses), max_size=12))
def test_an_operator_s_word_holds_until_the_next_one(events: list[tuple[str, WorkerStatus | None]]) -> None:
    worker, word = Worker("n"), None
    for who, status in events:
        if who == "operator" and status is not None:
            worker = set_status(worker, status, 1.0)
            word = status if status not in (ACTIVE, OFFLINE) else None
            assert worker.status is status
        elif who == "node":
            before = worker
            worker = heartbeat(worker, Heartbeat(status=status), 2.0)
            if status in (OFFLINE, WorkerStatus.ERROR):
                assert worker.status is status
            elif word is not None:
                assert worker.status is word
            elif status is not None:
                assert worker.status is status
            else:
                assert worker.status is (ACTIVE if before.status is OFFLINE else before.status)
        elif who == "silence":
            worker = lost(worker)
            assert worker.status is OFFLINE


def test_a_heartbeat_changes_only_what_it_names() -> None:
    worker = Worker("n", cpu_usage=5.0, memory_usage=6.0, agents=(Agent("a", capabilities=("see",)),))
    told = read_heartbeat({"cpu_usage": 7, "load_score": 3, "agents": [{"agent_id": "a"}]}, worker.agents, 8.0)
    after = heartbeat(worker, told, 8.0)
    assert (after.cpu_usage, after.memory_usage, after.load_score, after.heartbeat_at) == (7.0, 6.0, 1.0, 8.0)
    assert after.agents == (Agent("a", capabilities=("see",), last_activity=8.0),)


def test_results_count_and_move_the_means() -> None:
    tally = Tally.of(Worker("n"))
    for ok, seconds in ((True, 2.0), (False, 12.0)):
        tally.finished(ok, seconds)
    for latency in (10.0, 20.0):
        tally.measured(latency)
    worker = tally.onto(Worker("n", cpu_usage=5.0))
    assert (worker.tasks_completed, worker.tasks_failed, worker.cpu_usage) == (1, 1, 5.0)
    assert worker.reliability == pytest.approx(0.9)
    assert worker.task_seconds == pytest.approx(3.0)
    assert worker.network_latency == pytest.approx(12.0)


def test_check_26_what_a_task_requires_of_a_worker() -> None:
    told = {"cpu_usage": 50, "memory_usage": 50, "memory_mb": 4096, "capabilities": ["gpu"], "labels": {"zone": "a"}}
    worker = read_registration("n", told, 0.0)
    assert "min_cpu" in not_now(Requirements(min_cpu=60), worker)
    assert not not_now(Requirements(min_cpu=50, min_memory=1024), worker)
    assert "min_memory" in not_now(Requirements(min_memory=4000), worker)
    assert "excluded" in never(Requirements(exclude_nodes=frozenset({"n"})), worker)
    assert "tpu" in never(Requirements(capabilities=frozenset({"gpu", "tpu"})), worker)
    assert never(Requirements(labels=(("zone", "b"),)), worker)
    assert not never(Requirements(capabilities=frozenset({"gpu"}), labels=(("zone", "a"),)), worker)


@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_whatever_is_sent_is_read_or_refused(body: dict[str, Any]) -> None:
    for read in (lambda: read_registration("n", body, 1.0), lambda: read_heartbeat(body, (), 1.0)):
        with suppress(InvalidRequest):
            read()


def test_where_tasks_are_posted() -> None:
    assert Worker("n").task_path == "/api/tasks"
    assert Worker("n", node_type="ultimate_agent").task_path == "/api/v4/tasks/execute"
    assert Worker("n", node_type="ultimate_agent", metadata={"task_path": "/mine"}).task_path == "/mine"


def test_a_node_s_key_speaks_for_its_own_nodes() -> None:
    worker = Worker("n", owner="k1")
    assert worker.reports_to(Principal("k1", "a", Role.NODE))
    assert not worker.reports_to(Principal("k2", "b", Role.NODE))
    assert worker.reports_to(Principal("k2", "b", Role.OPERATOR))
    assert Worker("n").reports_to(Principal("k2", "b", Role.NODE))


@pytest.mark.parametrize(
    ("rule", "host", "allowed"),
    [
        ((), "localhost", True),
        ((), "127.0.0.1", True),
        ((), "[::1]", True),
        ((), "10.0.0.1", True),
        ((), "169.254.169.254", False),
        ((), "::ffff:169.254.169.254", False),
        ((), "fe80::1", False),
        ((), "0.0.0.0", False),
        ((), "255.255.255.255", False),
        ((), "224.0.0.1", False),
        (("169.254.0.0/16",), "169.254.169.254", True),
        (("10.0.0.0/8",), "10.0.0.1", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8",), "gpu", False),
        (("GPU", "*.w.example"), "gpu.", True),
        (("*.w.example",), "a.b.W.example", True),
        (("*.w.example",), "w.example", False),
        (("*.w.example",), "xw.example", False),
    ],
)
def test_where_tasks_may_be_pushed_to(rule: tuple[str, ...], host: str, allowed: bool) -> None:
    assert WorkerHosts.of(rule).allows(host) is allowed


def test_a_name_is_judged_by_the_address_it_leads_to() -> None:
    metadata, inside = ip_address("169.254.169.254"), ip_address("10.0.0.1")
    assert not WorkerHosts().permits("rebind.example", metadata)
    assert WorkerHosts().permits("rebind.example", inside)
    assert WorkerHosts.of(["gpu"]).permits("gpu", inside)
    assert not WorkerHosts.of(["gpu"]).permits("other", inside)
    with pytest.raises(ValueError, match="no name"):
        WorkerHosts.of(["10.0.0.0/99"])
