"""What is due when, whatever has become of it in between."""

from __future__ import annotations

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.task import Task
from orchestrator.services.tasks.timers import Timers
from task_samples import NOW, queued


def running(name: str, timeout: float) -> Task:
    return lifecycle.assign(queued(name, timeout=timeout), "n", NOW)


async def test_near_and_far_moments_come_in_their_order_and_once() -> None:
    timers = Timers(lambda: NOW, lambda: None)
    for name, timeout in (("far", 900.0), ("soon", 0.5), ("later", 30.25), ("latest", 900.75)):
        timers.set(running(name, timeout))
    seen = [(moment, list(timers.due(NOW + moment))) for moment in (0.25, 0.5, 30.0, 30.5, 30.5, 900.5, 901.0)]
    timers.stop()
    assert [(moment, found) for moment, found in seen if found] == [
        (0.5, ["soon"]),
        (30.5, ["later"]),
        (900.5, ["far"]),
        (901.0, ["latest"]),
    ]


async def test_what_changed_or_ended_is_not_due_at_its_old_moment() -> None:
    timers = Timers(lambda: NOW, lambda: None)
    for name in ("ended", "near", "again"):
        timers.set(running(name, 10.0))
    timers.set(running("near", 1.0))
    timers.set(running("again", 700.0))
    timers.forget("ended")
    assert list(timers.due(NOW + 1.0)) == ["near"]
    assert list(timers.due(NOW + 600.0)) == []
    timers.set(running("again", 800.0))  # once more, when it has nearly come
    assert list(timers.due(NOW + 799.5)) == []
    timers.forget("again")
    assert list(timers.due(NOW + 10_000.0)) == []
    timers.stop()


async def test_a_moment_that_comes_after_others_were_near_is_not_missed() -> None:
    timers = Timers(lambda: NOW, lambda: None)
    timers.set(running("first", 5.5))
    assert list(timers.due(NOW + 5.0)) == []
    timers.set(running("between", 5.25))
    assert list(timers.due(NOW + 6.0)) == ["between", "first"]
    timers.stop()
