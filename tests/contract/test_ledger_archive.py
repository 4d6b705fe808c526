"""Finished tasks are forgotten: by number, by age, with their keys and exact counts."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Verdict
from orchestrator.ports.store import Storage
from orchestrator.services.tasks.numbers import Numbers
from orchestrator.services.tasks.retention import KeepRules, TaskRetention

NOW = 1_795_000_000.0
DAY = 86_400.0


def task(number: int, at: float, key: str = "") -> Task:
    spec = TaskSpec(
        f"t{number}", Numbers(lambda: 0.0).seq(at), TaskClass("noop"), at, principal="p", idempotency_key=key
    )
    return lifecycle.submitted(spec, "a", frozenset(), at)


async def finish(storage: Storage, new: Task, *, ok: bool = True) -> None:
    begun = lifecycle.assign(new, "n", NOW)
    done = lifecycle.succeed(begun, NOW, b"1") if ok else lifecycle.fail(begun, NOW, "no", 0.0, final=True)
    changes = [
        Change(new),
        Change(begun, new.version, new.state),
        Change(done, begun.version, begun.state),
    ]
    assert await storage.ledger.commit(changes) == [Verdict.DONE] * 3


async def nothing(_seconds: float) -> None:
    return None


async def test_old_tasks_and_those_over_the_number_go(storage: Storage) -> None:
    for number in range(6):
        await finish(storage, task(number, NOW - number * DAY, key=f"k{number}"))
    for number in range(6, 9):
        await finish(storage, task(number, NOW - number * DAY), ok=False)
    waiting = task(20, NOW - 100 * DAY)
    assert await storage.ledger.commit([Change(waiting)]) == [Verdict.DONE]
    retention = TaskRetention(storage.task_archive, KeepRules(3.5 * DAY, completed=100, failed=100), lambda: NOW)

    assert await retention.sweep(nothing) == 5
    left = await storage.ledger.get([f"t{number}" for number in range(21)])
    assert set(left) == {"t0", "t1", "t2", "t3", "t20"}  # what has not finished is never forgotten
    counts = await storage.ledger.counts()
    assert counts.now == {TaskState.COMPLETED: 4, TaskState.QUEUED: 1}
    assert counts.ended == {TaskState.COMPLETED: 6, TaskState.FAILED: 3}

    retention.rules = replace(retention.rules, completed=1)
    assert await retention.sweep(nothing) == 3
    assert set(await storage.ledger.get(["t0", "t1", "t2", "t3"])) == {"t0"}
    assert await retention.sweep(nothing) == 0


async def test_a_forgotten_tasks_key_is_free_again(storage: Storage) -> None:
    await finish(storage, task(1, NOW - 9 * DAY, key="again"))
    retention = TaskRetention(storage.task_archive, KeepRules(DAY), lambda: NOW)
    assert await retention.sweep(nothing) == 1
    assert await storage.ledger.by_key("p", "again") is None
    assert await storage.ledger.commit([Change(task(2, NOW, key="again"))]) == [Verdict.DONE]
