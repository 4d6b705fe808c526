"""Whatever is done to tasks, in whatever order, a database shows what memory shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.adapters.sql.database import open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.adapters.sql.tables import meta, metadata
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import Backoff, OnDependencyFailure, Task, TaskSpec
from orchestrator.ports.ledger import Ledger, TaskQuery, Verdict
from orchestrator.storage import open_storage
from task_samples import built, change

OWNERS = ["a", "b", "c"]
LONG = 1e6  # seconds: alive for the whole test

owners = st.sampled_from(OWNERS)
nodes = st.sampled_from(["n", "m", "é"])
types = st.sampled_from(["noop", "gpu"])
results = st.none() | st.sampled_from([b"null", b'{"a": 1}', '"é😀"'.encode(), b"\xff", b"\0"])
errors = st.sampled_from(["no", "", "a\0", "x" * 5_000, "é\n'"])
parts = st.none() | st.sampled_from([0.0, 0.25, 1.0])
rands = st.sampled_from([0.0, 0.5, 0.999])
queries = st.builds(
    TaskQuery,
    states=st.sampled_from([frozenset(), FINISHED, frozenset({TaskState.QUEUED}), frozenset(TaskState) - FINISHED])
    | st.frozensets(st.sampled_from(TaskState)),
    type=st.sampled_from(["", "noop", "gpu", "other"]),
    node=st.sampled_from(["", "n", "é", "\0"]),
    principal=st.sampled_from([None, "", "ann"]),
    before=st.none() | st.integers(0, 30),
    limit=st.integers(0, 20),
    offset=st.integers(0, 5),
)
# Every change of a task that the domain knows, by a name and what it needs.
moves: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("assign"), nodes),
    st.tuples(st.just("start")),
    st.tuples(st.just("report"), parts, errors),
    st.tuples(st.just("succeed"), results, results),
    st.tuples(st.just("fail"), errors, rands, st.booleans()),
    st.tuples(st.just("expire"), rands),
    st.tuples(st.just("lose_node")),
    st.tuples(st.just("release")),
    st.tuples(st.just("wake")),
    st.tuples(st.just("miss_deadline")),
    st.tuples(st.just("cancel"), errors),
    st.tuples(st.just("replay"), owners, st.booleans()),
)


def moved(task: Task, move: tuple[Any, ...], now: float) -> Task:
    """The task after the move. Raises Conflict where it cannot happen."""
    name, *given = move
    ways: dict[str, Callable[..., Task]] = {
        "assign": lambda node: lifecycle.assign(task, node, now),
        "start": lambda: lifecycle.start(task, now),
        "report": lambda part, note: lifecycle.report(task, part, note),
        "succeed": lambda result, more: lifecycle.succeed(task, now, result, agent="é", performance=more),
        "fail": lambda reason, rand, final: lifecycle.fail(task, now, reason, rand, final=final),
        "expire": lambda rand: lifecycle.expire(task, now, rand),
        "lose_node": lambda: lifecycle.lose_node(task, now),
        "release": lambda: lifecycle.release(task),
        "wake": lambda: lifecycle.wake(task),
        "miss_deadline": lambda: lifecycle.miss_deadline(task, now),
        "cancel": lambda reason: lifecycle.cancel(task, now, reason),
        "replay": lambda owner, waits: lifecycle.replay(task, owner, frozenset({"p"} if waits else ()), now),
    }
    return ways[name](*given)


@dataclass
class _Draft:
    """Changes of one commit, and the tasks as they will be if all of them are written."""

    changes: list[Change]
    tasks: dict[str, Task]


class LedgerMachine(RuleBasedStateMachine):
    """Does the same to memory and to a database."""

    url: str  # set in a subclass: hypothesis makes the instances

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._memory: Ledger = MemoryLedger()
        self._stored = self._run(self._open())
        self._ids: list[str] = []
        self._old: list[Task] = []  # versions that somebody may still believe in
        self._numbers = count(1)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    async def _open(self) -> Ledger:
        async with open_database(locate(self.url)) as database:
            storage = await self._stack.enter_async_context(open_storage(self.url))
            async with database.write() as connection:
                for table in metadata.sorted_tables:
                    if table is not meta:
                        await connection.execute(table.delete())
        return storage.ledger

    def teardown(self) -> None:
        self._run(self._stack.aclose())
        self._runner.close()

    def _both(self, work: Callable[[Ledger], Coroutine[Any, Any, Any]]) -> Any:
        """What both say, which is the same."""
        said = self._run(_said(work, self._memory))
        assert self._run(_said(work, self._stored)) == said
        return said

    def _held(self) -> dict[str, Task]:
        found: dict[str, Task] = self._run(self._memory.get(self._ids))
        return found

    @initialize(lives=st.lists(st.tuples(owners, st.booleans()), max_size=3))
    def lives(self, lives: list[tuple[str, bool]]) -> None:
        for owner, alive in lives:
            self.take_over(owner, alive=alive, alone=False, limit=10)

    @rule(data=st.data(), size=st.integers(1, 6))
    def commit(self, data: st.DataObject, size: int) -> None:
        """Several changes at once: new tasks, moves of tasks as they are, or as they were, or will be."""
        draft = _Draft([], self._held())
        for _ in range(size):
            kind = data.draw(st.sampled_from(["new", "move", "move", "move", "late"]))
            if kind == "new" or not draft.tasks:
                task = data.draw(self._news())
                draft.changes.append(Change(task))
                draft.tasks.setdefault(task.id, task)
                continue
            if kind == "late" and self._old:
                task = data.draw(st.sampled_from(self._old))
            else:
                task = draft.tasks[data.draw(st.sampled_from(sorted(draft.tasks)))]
            self._move(draft, task, data.draw(moves))
        self._old += [task for task in self._held().values() if task not in self._old]
        if self._both(lambda ledger: ledger.commit(draft.changes)) is not InvalidRequest:
            self._ids = sorted({*self._ids, *draft.tasks})

    def _move(self, draft: _Draft, task: Task, move: tuple[Any, ...]) -> None:
        try:
            following = moved(task, move, float(next(self._numbers)))
        except Conflict:
            return
        draft.changes.append(change(task, following))
        if draft.tasks.get(task.id) is task:
            draft.tasks[task.id] = following

    def _news(self) -> st.SearchStrategy[Task]:
        number = next(self._numbers)
        specs = built(
            TaskSpec,
            id=st.sampled_from([f"t{number}", f"t{number}", "t1", "é"]),
            seq=st.just(number),
            of=built(
                TaskClass,
                type=types,
                requirements=built(Requirements, capabilities=st.sampled_from([frozenset(), frozenset({"x"})])),
            ),
            created_at=st.just(float(number)),
            priority=st.integers(1, 5),
            max_retries=st.integers(0, 2),
            backoff=st.just(Backoff(1.0, 2.0)),
            deadline=st.none() | st.just(1e9),
            on_dependency_failure=st.sampled_from(OnDependencyFailure),
            principal=st.sampled_from(["", "ann"]),
            idempotency_key=st.sampled_from(["", "", "k", "K", "é"]),
        )
        waiting = st.sampled_from([frozenset(), frozenset(), frozenset({"x", "y"})])
        return st.builds(lifecycle.submitted, specs, owners, waiting, st.just(0.0))

    @rule(owner=owners, alive=st.booleans(), alone=st.booleans(), limit=st.integers(0, 4))
    def take_over(self, owner: str, alive: bool, alone: bool, limit: int) -> None:
        seconds = LONG if alive else -1.0
        self._both(lambda ledger: ledger.take_over(owner, seconds=seconds, alone=alone, limit=limit))

    @rule(owner=owners, only=st.lists(types, max_size=2), limit=st.integers(0, 4))
    def steal(self, owner: str, only: list[str], limit: int) -> None:
        self._both(lambda ledger: ledger.steal(owner, only, limit))

    @rule(query=queries)
    def page(self, query: TaskQuery) -> None:
        self._both(lambda ledger: ledger.page(query))

    @rule(principal=st.sampled_from(["", "ann", "\0"]), key=st.sampled_from(["", "k", "K", "é", "\ud800"]))
    def by_key(self, principal: str, key: str) -> None:
        self._both(lambda ledger: ledger.by_key(principal, key))

    @precondition(lambda self: self._ids)
    @rule(data=st.data(), moves=st.lists(moves, min_size=1, max_size=4))
    def race(self, data: st.DataObject, moves: list[tuple[Any, ...]]) -> None:
        """Several changes of one task from the same version: the first that is possible wins."""
        held = self._held()
        task = held[data.draw(st.sampled_from(sorted(held)))]
        draft = _Draft([], {})
        for move in moves:
            self._move(draft, task, move)
        verdicts = self._both(lambda ledger: ledger.commit(draft.changes))
        if verdicts is not InvalidRequest and verdicts:
            assert verdicts == [Verdict.DONE] + [Verdict.STALE] * (len(verdicts) - 1)

    @invariant()
    def same(self) -> None:
        self._both(lambda ledger: ledger.get(["t0", *self._ids]))
        self._both(lambda ledger: ledger.counts())
        counted = self._run(self._stored.counts()).now
        assert sum(counted.values()) == len(self._held())


async def _said(work: Callable[[Ledger], Coroutine[Any, Any, Any]], ledger: Ledger) -> Any:
    try:
        return await work(ledger)
    except InvalidRequest:
        return InvalidRequest


def test_a_database_shows_what_memory_shows_of_tasks(database_url: str) -> None:
    machine = type("Machine", (LedgerMachine,), {"url": database_url})
    run_state_machine_as_test(  # hypothesis leaves it untyped
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
