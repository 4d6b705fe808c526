"""Tasks in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from time import monotonic

from orchestrator.domain.storable import check_storable
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Change, Counts, TaskQuery, Verdict


class MemoryLedger:
    """`Ledger` in dicts."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` tells seconds."""
        self._clock = clock
        self._tasks: dict[str, Task] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._lives: dict[str, float] = {}
        self._ended: Counter[TaskState] = Counter()

    async def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        for change in changes:
            check_storable((change.task.spec.of.type, change.task.error, change.task.note), change.task.id)
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
        elif held is None or held.version != change.expected:
            return Verdict.STALE
        self._tasks[task.id] = task
        if task.state.finished and (held is None or not held.state.finished):
            self._ended[task.state] += 1
        return Verdict.DONE

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        return {task_id: self._tasks[task_id] for task_id in ids if task_id in self._tasks}

    async def by_key(self, principal: str, key: str) -> Task | None:
        return self._tasks.get(self._keys.get((principal, key), ""))

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        found = [task for task in self._tasks.values() if _matches(task, query)]
        found.sort(key=lambda task: -task.spec.seq)
        return tuple(found[query.offset : query.offset + query.limit])

    async def counts(self) -> Counts:
        return Counts(Counter(task.state for task in self._tasks.values()), Counter(self._ended))

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
        return self._give(sorted(gone, key=lambda task: task.spec.seq)[:limit], owner)

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
        return self._give(sorted(there, key=lambda task: (task.spec.priority, task.spec.seq))[:limit], owner)

    def _give(self, tasks: list[Task], owner: str) -> tuple[Task, ...]:
        given = tuple(replace(task, owner=owner, version=task.version + 1) for task in tasks)
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
