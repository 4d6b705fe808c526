"""The ledger in a SQLite file. Two connections, each on a thread of its own: one writes, one reads."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from orchestrator.adapters.sql.ledger.rows import (
    ALL,
    ENDED,
    FIXED,
    MOVING,
    READ_ENDED,
    READ_HOT,
    check,
    deltas,
    ending,
    fixed,
    moving,
    tables,
    task_of,
)
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable
from orchestrator.domain.storable import is_key
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Change, Counts, TaskQuery, Verdict

T = TypeVar("T")
MOST_NAMES = 500  # ids in one query
_SETS = ", ".join(f"{name} = ?" for name in MOVING)

ADD_KEY = "INSERT INTO task_keys (principal, key, task) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
DROP_KEY = "DELETE FROM task_keys WHERE principal = ? AND key = ?"
ADD = f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT {", ".join("?" * len(ALL))}
WHERE NOT EXISTS (SELECT 1 FROM tasks_finished WHERE id = ?) ON CONFLICT DO NOTHING"""  # noqa: S608 - our own names
CHANGE = f"UPDATE tasks SET {_SETS} WHERE id = ? AND version = ?"  # noqa: S608
FINISH = f"""
INSERT INTO tasks_finished ({", ".join(ENDED)})
SELECT {", ".join(FIXED)}, {", ".join("?" * (len(ENDED) - len(FIXED)))} FROM tasks WHERE id = ? AND version = ?"""  # noqa: S608
REMOVE = "DELETE FROM tasks WHERE id = ?"
REPLAY = f"""
INSERT INTO tasks ({", ".join(ALL)})
SELECT {", ".join(FIXED)}, {", ".join("?" * len(MOVING))} FROM tasks_finished WHERE id = ? AND version = ?"""  # noqa: S608
REMOVE_FINISHED = "DELETE FROM tasks_finished WHERE id = ?"
COUNT = """
INSERT INTO task_counts (owner, state, now, ended) VALUES ('', ?, ?, ?)
ON CONFLICT (owner, state) DO UPDATE SET now = now + excluded.now, ended = ended + excluded.ended"""
LIVE = "INSERT INTO replicas (id, until) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET until = excluded.until"
FORGET = "DELETE FROM replicas WHERE until < ?"
TAKE = """
UPDATE tasks SET owner = ?, version = version + 1 WHERE id IN (
    SELECT id FROM tasks WHERE owner != ? AND (? OR owner NOT IN (SELECT id FROM replicas WHERE until > ?))
    ORDER BY seq LIMIT ?)"""
STEAL = """
UPDATE tasks SET owner = ?, version = version + 1 WHERE id IN (
    SELECT id FROM tasks WHERE state = 'queued' AND owner != ? AND owner IN (SELECT id FROM replicas WHERE until > ?) {}
    ORDER BY priority, seq LIMIT ?)"""


class SqliteLedger:
    """`Ledger`. Opened when it is first used."""

    def __init__(self, location: SqliteFile, busy_timeout: float) -> None:
        """`busy_timeout` is how long (seconds) a write waits for another process's transaction."""
        self._location = location
        self._timeout = busy_timeout
        self._writer = _Thread(location, busy_timeout, "ledger-writer")
        self._reader = _Thread(location, busy_timeout, "ledger-reader")

    async def close(self) -> None:
        await asyncio.gather(self._writer.close(), self._reader.close())

    async def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        check(changes)
        return await self._writer.run(lambda connection: _transaction(connection, lambda: _commit(connection, changes)))

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        wanted = [task_id for task_id in ids if is_key(task_id)]
        return await self._reader.run(lambda connection: _get(connection, wanted)) if wanted else {}

    async def by_key(self, principal: str, key: str) -> Task | None:
        if not (is_key(principal) and is_key(key)):
            return None
        find = "SELECT task FROM task_keys WHERE principal = ? AND key = ?"
        rows = await self._reader.run(lambda connection: connection.execute(find, (principal, key)).fetchall())
        return (await self.get([rows[0][0]])).get(rows[0][0]) if rows else None

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        if not all(map(is_key, (query.type, query.node, query.principal or ""))):
            return ()
        return await self._reader.run(lambda connection: _page(connection, query))

    async def counts(self) -> Counts:
        rows = await self._reader.run(
            lambda connection: connection.execute("SELECT state, now, ended FROM task_counts").fetchall()
        )
        return Counts(
            {TaskState(state): now for state, now, _ in rows if now},
            {TaskState(state): ended for state, _, ended in rows if ended},
        )

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        def take(connection: sqlite3.Connection) -> list[Sequence[Any]]:
            now = time.time()
            connection.execute(FORGET, (now - 3_600.0,))
            connection.execute(LIVE, (owner, now + seconds))
            return _given(connection, TAKE, (owner, owner, alone, now, limit))

        rows = await self._writer.run(lambda connection: _transaction(connection, lambda: take(connection)))
        return tuple(sorted(map(task_of, rows), key=lambda task: task.spec.seq))

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        wanted = sorted(types)
        only = f"AND type IN ({', '.join('?' * len(wanted))})" if wanted else ""

        def take(connection: sqlite3.Connection) -> list[Sequence[Any]]:
            return _given(connection, STEAL.format(only), (owner, owner, time.time(), *wanted, limit))

        rows = await self._writer.run(lambda connection: _transaction(connection, lambda: take(connection)))
        return tuple(sorted(map(task_of, rows), key=lambda task: (task.spec.priority, task.spec.seq)))


class _Thread:
    """One connection, and the thread that alone uses it."""

    def __init__(self, location: SqliteFile, timeout: float, name: str) -> None:
        self._location = location
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(1, name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Raises StorageUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._with_connection, work)
        except sqlite3.DatabaseError as error:
            if "file is not a database" in str(error):
                raise ConfigurationError(f"{self._location}: this file is not a SQLite database") from error
            raise StorageUnavailable(f"{self._location}: {error}") from error

    async def close(self) -> None:
        def close() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._pool, close)
        self._pool.shutdown(wait=True)

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connect(self._location, self._timeout)
        return work(self._connection)


def _connect(location: SqliteFile, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        location.path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _transaction(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found


def _commit(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Verdict]:
    with closing(connection.cursor()) as cursor:
        verdicts = [_write(cursor, change) for change in changes]
        cursor.executemany(COUNT, deltas(changes, verdicts))
    return verdicts


def _write(cursor: sqlite3.Cursor, change: Change) -> Verdict:
    task, expected = change.task, change.expected
    if expected == 0:
        return _add(cursor, task)
    if task.state.finished:
        cursor.execute(FINISH, (*moving(task), *ending(task), task.id, expected))
        if cursor.rowcount:
            cursor.execute(REMOVE, (task.id,))
            return Verdict.DONE
        return Verdict.STALE
    if change.before is not None and change.before.finished:
        cursor.execute(REPLAY, (*moving(task), task.id, expected))
        if cursor.rowcount:
            cursor.execute(REMOVE_FINISHED, (task.id,))
            return Verdict.DONE
        return Verdict.STALE
    cursor.execute(CHANGE, (*moving(task), task.id, expected))
    return Verdict.DONE if cursor.rowcount else Verdict.STALE


def _add(cursor: sqlite3.Cursor, task: Task) -> Verdict:
    spec = task.spec
    if spec.idempotency_key:
        cursor.execute(ADD_KEY, (spec.principal, spec.idempotency_key, spec.id))
        if not cursor.rowcount:
            return Verdict.EXISTS
    cursor.execute(ADD, (*fixed(task), *moving(task), spec.id))
    if cursor.rowcount:
        return Verdict.DONE
    if spec.idempotency_key:
        cursor.execute(DROP_KEY, (spec.principal, spec.idempotency_key))
    return Verdict.EXISTS


def _get(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for start in range(0, len(ids), MOST_NAMES):
        chunk = ids[start : start + MOST_NAMES]
        marks = ", ".join("?" * len(chunk))
        both = (
            f"SELECT {READ_HOT} FROM tasks WHERE id IN ({marks}) UNION ALL "  # noqa: S608
            f"SELECT {READ_ENDED} FROM tasks_finished WHERE id IN ({marks})"
        )
        found |= {task.id: task for task in map(task_of, connection.execute(both, (*chunk, *chunk)))}
    return found


def _page(connection: sqlite3.Connection, query: TaskQuery) -> tuple[Task, ...]:
    conditions, values = ["1"], []
    for condition, value in (
        ("type = ?", query.type or None),
        ("node = ?", query.node or None),
        ("principal = ?", query.principal),
        ("seq < ?", query.before),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.states:
        conditions.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += sorted(query.states)
    where = " AND ".join(conditions)
    reach = query.offset + query.limit
    hot, ended = tables(query)
    rows: list[Sequence[Any]] = []
    for wanted, table, columns in ((hot, "tasks", READ_HOT), (ended, "tasks_finished", READ_ENDED)):
        if wanted:
            page = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
            rows += connection.execute(page, (*values, reach)).fetchall()
    rows.sort(key=lambda row: -row[1])
    return tuple(map(task_of, rows[query.offset : reach]))


def _given(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> list[Sequence[Any]]:
    ids = [row[0] for row in connection.execute(f"{statement} RETURNING id", values).fetchall()]
    found: list[Sequence[Any]] = []
    for start in range(0, len(ids), MOST_NAMES):
        chunk = ids[start : start + MOST_NAMES]
        marks = ", ".join("?" * len(chunk))
        found += connection.execute(f"SELECT {READ_HOT} FROM tasks WHERE id IN ({marks})", chunk).fetchall()  # noqa: S608
    return found
