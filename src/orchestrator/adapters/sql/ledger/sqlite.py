"""The ledger in a SQLite file. Changes of tasks are written by a process of its own, everything else by a connection on
a thread, and another one reads."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import product
from typing import Any, TypeVar

from orchestrator.adapters.sql.event_log.sqlite import LAST, batch_steps
from orchestrator.adapters.sql.ledger.rows import (
    ACTIVE,
    IDLE,
    READ_ENDED,
    READ_HOT,
    Chains,
    check,
    counts_of,
    filters_of,
    keys_of,
    searched,
    task_of,
)
from orchestrator.adapters.sql.ledger.sqlite_write import DROP_KEY, count, write_each, written_at_once
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_process import Behind, SqliteProcess
from orchestrator.adapters.sql.sqlite_program import Step
from orchestrator.adapters.sql.sqlite_thread import SqliteThread
from orchestrator.adapters.sql.turn import Turn
from orchestrator.domain.storable import is_key
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import LOWEST, Task
from orchestrator.ports.ledger import Counts, News, Pipeline, TaskQuery, Verdict, turn

T = TypeVar("T")
MOST_NAMES = 500  # ids in one query
CACHE = 64_000  # KiB of pages that each connection keeps
WRITING = ("synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE}")
FORGET_AFTER = 3_600.0  # seconds after its lease for which a replica is remembered
FAR = 2**63 - 1
_PRIORITIES = range(1, LOWEST + 1)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


LAST_KEPT = "SELECT seq FROM tasks_finished WHERE state = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
PRUNE = """
DELETE FROM tasks_finished WHERE id IN (
    SELECT id FROM tasks_finished WHERE state = ? AND seq <= ? ORDER BY seq LIMIT ?) RETURNING principal, spec"""
COUNTS = "SELECT state, now, ended FROM task_counts"
LIVE = "INSERT INTO replicas (id, until) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET until = excluded.until"
FORGET = "DELETE FROM replicas WHERE until < ?"
LIVING = "SELECT id FROM replicas WHERE until > ?"
FIRST_OWNER = "SELECT min(owner) FROM tasks"
NEXT_OWNER = "SELECT min(owner) FROM tasks WHERE owner > ?"
# One range of the index: there are few owners, states and priorities, and each range is read only as far as needed.
OPEN_RANGE = """
SELECT seq, rowid, priority FROM tasks WHERE owner = ? AND state = ? AND priority = ? AND seq < ?{}
ORDER BY seq {} LIMIT ?"""
# Without statistics SQLite cannot tell which index is the narrow one.
ENDED_RANGE = """
SELECT seq, rowid FROM tasks_finished INDEXED BY ix_tasks_finished_{}
WHERE state = ? AND seq < ?{} ORDER BY seq DESC LIMIT ?"""
GIVE = "UPDATE tasks SET owner = ?, version = version + 1 WHERE rowid = ?"
BY_KEY = "SELECT task FROM task_keys WHERE principal = ? AND key = ?"


class SqliteLedger:
    """`Ledger` and `TaskArchive`. Opened when it is first used."""

    def __init__(
        self, location: SqliteFile, busy_timeout: float, changes: SqliteProcess, turn: Turn | None = None
    ) -> None:
        """`busy_timeout` is how long (seconds) a write waits for another process's transaction. `changes` writes the
        changes of tasks. `turn` is held by whoever of ours writes to the file."""
        self.pipeline: Pipeline | None = self
        self._turn = turn or Turn()
        self._number = 0  # of the last commit
        self._asked = 0  # of the other process for now, while the turn is ours
        self._changes = changes
        self._writer = SqliteThread(location, busy_timeout, "ledger-writer", WRITING)
        self._reader = SqliteThread(location, busy_timeout, "ledger-reader", WRITING)

    async def close(self) -> None:
        await asyncio.gather(self._writer.close(), self._reader.close())

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        return await self._commit(changes, news, 0)

    async def commit_behind(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict] | None:
        try:
            return await self._commit(changes, news, self._number)
        except Behind:
            return None

    async def _commit(self, changes: Sequence[Change], news: News | None, after: int) -> list[Verdict]:
        """Raises Behind."""
        number = self._number = self._number + 1
        chains = Chains(changes)
        check(chains.merged)
        if not changes:
            return []
        all_done = [Verdict.DONE] * len(changes)
        steps = written_at_once(changes, chains)
        if steps is not None:
            batch = news.of(all_done) if news is not None else None
            steps += batch_steps(batch) if batch is not None else []
            rows = await self._write_at_once(steps, LAST if batch is not None else "", number, after)
            if rows is not None:
                if news is not None and rows:
                    news.number = rows[0][0]
                return all_done
        elif after:
            raise Behind
        return await self._write(lambda connection: write_each(connection, changes, chains, news))

    async def _write_at_once(
        self, steps: Sequence[Step], question: str, number: int, after: int
    ) -> list[tuple[Any, ...]] | None:
        """In a turn, or in that of the commit before, while nobody else waits for one."""
        if not (after and self._asked) or self._turn.wanted:
            await self._turn.take()
        self._asked += 1
        try:
            return await self._changes.write(steps, question, number=number, after=after)
        finally:
            self._asked -= 1
            if not self._asked:
                self._turn.leave()

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        wanted = [task_id for task_id in ids if is_key(task_id)]
        return await self._read(lambda connection: _get(connection, wanted)) if wanted else {}

    async def by_key(self, principal: str, key: str) -> Task | None:
        if not (is_key(principal) and is_key(key)):
            return None

        def find(connection: sqlite3.Connection) -> dict[str, Task]:
            return _get(connection, [task for (task,) in connection.execute(BY_KEY, (principal, key)).fetchall()])

        return next(iter((await self._read(find)).values()), None)

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        if not all(map(is_key, (query.type, query.node, query.principal or ""))):
            return ()
        return await self._read(lambda connection: _page(connection, query))

    async def counts(self) -> Counts:
        return counts_of(await self._read(lambda connection: connection.execute(COUNTS).fetchall()))

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        def take(connection: sqlite3.Connection) -> list[Sequence[Any]]:
            now = time.time()
            connection.execute(FORGET, (now - FORGET_AFTER,))
            connection.execute(LIVE, (owner, now + seconds))
            living = {owner} if alone else {name for (name,) in connection.execute(LIVING, (now,))}
            gone = [other for other in _owners(connection) if other != owner and other not in living]
            found = sorted(_ranges(connection, gone, ACTIVE, limit))[:limit]
            if len(found) < limit:
                found += sorted(_ranges(connection, gone, IDLE, limit - len(found)))[: limit - len(found)]
            return _give(connection, owner, found)

        rows = await self._write(take)
        return tuple(sorted(map(task_of, rows), key=turn))

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        wanted = [kind for kind in types if is_key(kind)]
        only = f" AND type IN ({_marks(len(wanted))})" if types else ""

        def take(connection: sqlite3.Connection) -> list[Sequence[Any]]:
            living = {name for (name,) in connection.execute(LIVING, (time.time(),))}
            others = [other for other in _owners(connection) if other != owner and other in living]
            found = _ranges(connection, others, [TaskState.QUEUED.value], limit, only, wanted)
            return _give(connection, owner, sorted(found, key=lambda row: (row[2], row[0]))[:limit])

        rows = await self._write(take)
        return tuple(sorted(map(task_of, rows), key=lambda task: (task.spec.priority, task.spec.seq)))

    async def last_kept(self, state: TaskState, most: int) -> int | None:
        rows = await self._read(lambda connection: connection.execute(LAST_KEPT, (state.value, most)).fetchall())
        return rows[0][0] if rows else None

    async def prune(self, state: TaskState, through: int, limit: int) -> int:
        def prune(connection: sqlite3.Connection) -> int:
            rows = connection.execute(PRUNE, (state.value, through, limit)).fetchall()
            connection.executemany(DROP_KEY, keys_of(rows))
            if rows:
                connection.execute(count(1), (state.value, -len(rows), 0))
            return len(rows)

        return await self._write(prune)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turn:
            return await self._writer.write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._reader.read(work)


def _get(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for chunk in _chunks(ids):
        marks = _marks(len(chunk))
        both = (
            f"SELECT {READ_HOT} FROM tasks WHERE id IN ({marks}) UNION ALL "  # noqa: S608
            f"SELECT {READ_ENDED} FROM tasks_finished WHERE id IN ({marks})"
        )
        found |= {task.id: task for task in map(task_of, connection.execute(both, (*chunk, *chunk)))}
    return found


def _page(connection: sqlite3.Connection, query: TaskQuery) -> tuple[Task, ...]:
    filters = filters_of(query)
    conditions = "".join(f" AND {name} = ?" for name in filters)
    values = list(filters.values())
    index = next(iter(filters), "state")
    reach = query.offset + query.limit
    before = FAR if query.before is None else query.before
    open_states, ended_states = searched(query)
    found: list[tuple[int, int, bool]] = []
    if open_states:
        owners = _owners(connection)
        ranges = _ranges(connection, owners, open_states, reach, conditions, values, before, newest=True)
        found += [(seq, row, False) for seq, row, _ in ranges]
    for state in ended_states:
        ended = connection.execute(ENDED_RANGE.format(index, conditions), (state, before, *values, reach))
        found += [(seq, row, True) for seq, row in ended]
    page = sorted(found, reverse=True)[query.offset : reach]
    rows = _rows(connection, "tasks", READ_HOT, [row for _, row, ended in page if not ended])
    rows += _rows(connection, "tasks_finished", READ_ENDED, [row for _, row, ended in page if ended])
    return tuple(sorted(map(task_of, rows), key=lambda task: -task.spec.seq))


def _owners(connection: sqlite3.Connection) -> list[str]:
    """Who has unfinished tasks, found without reading them all."""
    owners: list[str] = []
    (owner,) = connection.execute(FIRST_OWNER).fetchone()
    while owner is not None:
        owners.append(owner)
        (owner,) = connection.execute(NEXT_OWNER, (owner,)).fetchone()
    return owners


def _ranges(
    connection: sqlite3.Connection,
    owners: Iterable[str],
    states: Iterable[str],
    limit: int,
    conditions: str = "",
    values: Sequence[str] = (),
    before: int = FAR,
    *,
    newest: bool = False,
) -> list[tuple[int, int, int]]:
    """(seq, row number, priority) of the first of each range."""
    statement = OPEN_RANGE.format(conditions, "DESC" if newest else "ASC")
    found: list[tuple[int, int, int]] = []
    for owner, state, priority in product(owners, states, _PRIORITIES):
        found += connection.execute(statement, (owner, state, priority, before, *values, limit))
    return found


def _give(connection: sqlite3.Connection, owner: str, found: Sequence[tuple[int, int, int]]) -> list[Sequence[Any]]:
    connection.executemany(GIVE, [(owner, row) for _, row, _ in found])
    return _rows(connection, "tasks", READ_HOT, [row for _, row, _ in found])


def _rows(connection: sqlite3.Connection, table: str, columns: str, numbers: Sequence[int]) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for chunk in _chunks(numbers):
        statement = f"SELECT {columns} FROM {table} WHERE rowid IN ({_marks(len(chunk))})"  # noqa: S608
        found += connection.execute(statement, chunk).fetchall()
    return found


def _chunks(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + MOST_NAMES] for start in range(0, len(items), MOST_NAMES)]
