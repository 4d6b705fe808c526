"""Nodes that pull have as many places as they ask for: none while they do not ask."""

from __future__ import annotations

import pytest

from orchestrator.domain.placement import Placement
from orchestrator.domain.placement.placement import POLICIES
from orchestrator.domain.placement.record import Outcome
from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.worker import Worker, WorkerMode
from orchestrator.services.tasks.seats import Seats

WORK = TaskClass("work")
DONE = Outcome(True, 0.1)


def half() -> float:
    return 0.5


def seats_of(*names: str, policy: str = "round_robin") -> Seats:
    seats = Seats(Placement(policy, rand=half))
    for name in names:
        seats.put(Worker(name, mode=WorkerMode.PULL))
    return seats


def test_what_a_node_has_from_before_may_end_though_it_has_not_asked_yet() -> None:
    seats = seats_of("n")
    for task_id in ("a", "b"):
        seats.take(seats.by_id["n"], task_id, 1, "work")
    assert not seats.has_room(WORK)
    assert [seats.leave("n", task_id, "work", DONE, 1.0) for task_id in ("a", "b")] == [True, True]
    assert not seats.has_room(WORK)
    seats.offer("n", 1)
    assert seats.choose(WORK, 2.0) is seats.by_id["n"]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_nodes_that_do_not_ask_are_no_trouble_for_any_policy(policy: str) -> None:
    asking = [f"asks-{number}" for number in range(15)]
    seats = seats_of(*asking, *(f"silent-{number}" for number in range(20)), policy=policy)
    assert seats.choose(WORK, 0.0) is None
    for name in asking:
        seats.offer(name, 2)
    for number in range(30):
        seat = seats.choose(WORK, 1.0)
        assert seat is not None
        assert seat.worker.id in asking
        seats.take(seat, f"t{number}", 1, "work")
    assert seats.choose(WORK, 2.0) is None
    assert any(seats.leave(name, "t0", "work", DONE, 3.0) for name in asking)
    assert not seats.has_room(WORK), "nobody has asked for more"
