"""The ledger when something goes wrong beneath it, and when replicas meet."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.adapters.sql import open_sql_storage
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Ledger, TaskQuery, Verdict
from orchestrator.storage import open_storage
from servers.postgres import PostgresServer

DONE, STALE, EXISTS = Verdict.DONE, Verdict.STALE, Verdict.EXISTS


def task(name: str, seq: int = 1, *, owner: str = "a", key: str = "") -> Task:
    spec = TaskSpec(name, seq, TaskClass("t"), 5.0, principal="ann", idempotency_key=key)
    return lifecycle.submitted(spec, owner, frozenset(), 5.0)


async def add(ledger: Ledger, *tasks: Task) -> None:
    assert await ledger.commit([Change(one) for one in tasks]) == [DONE] * len(tasks)


async def test_a_reopened_ledger_has_everything(database_url: str) -> None:
    old = task("y", 2)
    ended = lifecycle.cancel(old, 6.0)
    async with open_storage(database_url) as storage:
        await add(storage.ledger, task("x", key="k"), old)
        assert await storage.ledger.commit([Change(ended, old.version, old.state)]) == [DONE]
        counts = await storage.ledger.counts()
    async with open_storage(database_url) as storage:
        assert await storage.ledger.page(TaskQuery()) == (ended, task("x", key="k"))
        assert await storage.ledger.by_key("ann", "k") == task("x", key="k")
        assert await storage.ledger.counts() == counts


async def test_a_cancelled_commit_leaves_the_ledger_working(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        for steps in range(10):
            running = asyncio.create_task(storage.ledger.commit([Change(task(f"c{steps}", steps))]))
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        async with asyncio.timeout(10):
            await add(storage.ledger, task("x", 50))
        counted = (await storage.ledger.counts()).now[TaskState.QUEUED]
        assert counted == len(await storage.ledger.page(TaskQuery()))


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    async with open_storage(postgres_url) as one, open_storage(postgres_url) as two:
        yield one.ledger, two.ledger


async def test_replicas_that_change_the_same_tasks_write_each_once(replicas: tuple[Ledger, Ledger]) -> None:
    """In opposite orders, over and over: neither waits for the other for ever."""
    for turn in range(20):
        old = [task(f"t{turn}-{number}", 100 * turn + number) for number in range(20)]
        await add(replicas[0], *old)
        changes = [Change(lifecycle.assign(one, "n1", 6.0), one.version, one.state) for one in old]
        ends = [Change(lifecycle.cancel(one, 6.0), one.version, one.state) for one in old]
        first, second = await asyncio.gather(
            replicas[0].commit(changes[:10] + ends[10:]),
            replicas[1].commit(changes[10:][::-1] + ends[:10][::-1]),
        )
        for one, other in zip(first, second[::-1], strict=True):
            assert {one, other} == {DONE, STALE}
    now = (await replicas[0].counts()).now
    assert sum(now.values()) == 400
    for state, count in now.items():
        assert len(await replicas[1].page(TaskQuery(frozenset({state}), limit=500))) == count


async def test_a_key_is_given_once_by_two_replicas(replicas: tuple[Ledger, Ledger]) -> None:
    for turn in range(20):
        verdicts = await asyncio.gather(
            *(
                ledger.commit([Change(task(f"{turn}-{number}", 2 * turn + number, key=f"k{turn}"))])
                for number, ledger in enumerate(replicas)
            )
        )
        assert sorted(verdicts) == [[DONE], [EXISTS]]


async def test_lost_connections_of_the_ledger_are_made_again(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = postgres_url.rpartition("/")[2]
    end = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"  # and they are gone
    async with open_storage(postgres_url) as storage:
        await asyncio.gather(*(add(storage.ledger, task(f"t{number}", number)) for number in range(8)))
        for turn in range(2):
            await asyncio.to_thread(postgres_server.execute, end)
            assert len(await storage.ledger.page(TaskQuery())) == 8 + turn
            await asyncio.to_thread(postgres_server.execute, end)
            await add(storage.ledger, task(f"x{turn}", 9 + turn))


async def test_postgresql_is_told_everything_of_a_commit_in_one_statement(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = postgres_url.rpartition("/")[2]
    # A transaction of several would have ended with COMMIT, and that would be the connection's latest.
    latest = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'WITH counted AS%'"
    async with open_storage(postgres_url) as storage:
        old = task("x", key="k")
        await add(storage.ledger, old)
        ended = lifecycle.cancel(old, 6.0)
        changes = [Change(ended, old.version, old.state), Change(task("y", 2))]
        assert await storage.ledger.commit(changes) == [DONE, DONE]
        told = await asyncio.to_thread(postgres_server.execute, latest)
        assert told.split() == ["1"]
        assert await storage.ledger.commit([*changes[:1], Change(task("z", 3))]) == [STALE, DONE]
        assert (await storage.ledger.counts()).now == {TaskState.QUEUED: 2, TaskState.CANCELLED: 1}


async def test_a_ledger_that_went_away_is_unavailable_and_comes_back(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = postgres_url.rpartition("/")[2]
    end = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"  # and they are gone
    async with open_storage(postgres_url) as storage:
        await add(storage.ledger, task("x"))
        await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await asyncio.to_thread(postgres_server.execute, end)
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await storage.ledger.commit([Change(task("y", 2))])
            with pytest.raises(StorageUnavailable):
                await storage.ledger.get(["x"])
        await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await add(storage.ledger, task("y", 2))


async def test_counts_of_replicas_long_gone_are_kept(postgres_url: str, postgres_server: PostgresServer) -> None:
    name = postgres_url.rpartition("/")[2]
    async with open_storage(postgres_url) as storage:
        ledger = storage.ledger
        for owner in ("a", "b"):
            await ledger.take_over(owner, seconds=-7_200.0)
            await add(ledger, task(owner, ord(owner), owner=owner))
        counts = await ledger.counts()
        assert dict(counts.now) == {TaskState.QUEUED: 2}
        assert len(await ledger.take_over("c", seconds=60.0)) == 2
        assert await ledger.counts() == counts
    owners = await asyncio.to_thread(postgres_server.execute, "SELECT count(owner) FROM task_counts", name)
    assert owners.split() == ["1"]


async def test_a_locked_file_is_unavailable_and_then_works(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sql_storage(f"sqlite:///{path}", busy_timeout=0.05) as storage:
        await add(storage.ledger, task("x"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked"):
                await storage.ledger.commit([Change(task("y", 2))])
            assert await storage.ledger.page(TaskQuery()) == (task("x"),)
            other.execute("ROLLBACK")
        await add(storage.ledger, task("y", 2))
