"""Tasks in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from heapq import nlargest, nsmallest
from time import monotonic

from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.storable import check_progress, check_spec
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Counts, News, Pipeline, TaskQuery, Verdict, turn


class MemoryLedger:
    """`Ledger` and `TaskArchive` in dicts."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` tells seconds."""
        self.pipeline: Pipeline | None = None
        self._clock = clock
        self._tasks: dict[str, Task] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._lives: dict[str, float] = {}
        self._now: Counter[TaskState] = Counter()
        self._ended: Counter[TaskState] = Counter()

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        for change in changes:
            check_progress(change.task)
            if change.expected == 0:
                check_spec(change.task.spec)
        return [self._write(change) for change in changes]

    def _write(self, change: Change) -> Verdict:
        task, spec = change.task, change.task.spec
        held = self._tasks.get(task.id)
        key = (spec.principal, spec.idempotency_key)
        if change.expected == 0:
            if held is not None or (spec.idempotency_key and key in self._keys):
                return Verdict.EXISTS
            if spec.idempotency_key:
                self._keys[key] = task.id
        elif held is None or held.version != change.expected or held.state is not change.before:
            return Verdict.STALE
        elif held.state.finished and task.state.finished:
            return Verdict.STALE  # what has finished only begins anew
        else:
            self._now[held.state] -= 1
        self._tasks[task.id] = task
        self._now[task.state] += 1
        if task.state.finished:
            self._ended[task.state] += 1
        return Verdict.DONE

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        return {task_id: self._tasks[task_id] for task_id in ids if task_id in self._tasks}

    async def by_key(self, principal: str, key: str) -> Task | None:
        return self._tasks.get(self._keys.get((principal, key), ""))

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        found = (task for task in self._tasks.values() if _matches(task, query))
        newest = nlargest(query.offset + query.limit, found, key=lambda task: task.spec.seq)
        return tuple(newest[query.offset :])

    async def counts(self) -> Counts:
        return Counts(+self._now, +self._ended)

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        now = self._clock()
        self._lives[owner] = now + seconds
        gone = [
            task
            for task in self._tasks.values()
            if not task.state.finished and task.owner != owner and (alone or self._lives.get(task.owner, 0.0) <= now)
        ]
        return self._give(nsmallest(limit, gone, key=turn), owner)

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        now = self._clock()
        there = [
            task
            for task in self._tasks.values()
            if task.state is TaskState.QUEUED
            and task.owner != owner
            and self._lives.get(task.owner, 0.0) > now
            and (not types or task.spec.type in types)
        ]
        return self._give(nsmallest(limit, there, key=lambda task: (task.spec.priority, task.spec.seq)), owner)

    async def last_kept(self, state: TaskState, most: int) -> int | None:
        newest = nlargest(most + 1, (task.spec.seq for task in self._tasks.values() if task.state is state))
        return newest[most] if len(newest) > most else None

    async def prune(self, state: TaskState, through: int, limit: int) -> int:
        old = [task for task in self._tasks.values() if task.state is state and task.spec.seq <= through]
        gone = nsmallest(limit, old, key=lambda task: task.spec.seq)
        for task in gone:
            del self._tasks[task.id]
            self._keys.pop((task.spec.principal, task.spec.idempotency_key), None)
        self._now[state] -= len(gone)
        return len(gone)

    def _give(self, tasks: list[Task], owner: str) -> tuple[Task, ...]:
        given = tuple(task.replace(owner=owner, version=task.version + 1) for task in tasks)
        self._tasks.update((task.id, task) for task in given)
        return given


def _matches(task: Task, query: TaskQuery) -> bool:
    return (
        (not query.states or task.state in query.states)
        and query.type in ("", task.spec.type)
        and query.node in ("", task.node)
        and query.principal in (None, task.spec.principal)
        and (query.before is None or task.spec.seq < query.before)
    )
