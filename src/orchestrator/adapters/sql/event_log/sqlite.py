"""Events in a SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

import sqlalchemy as sa

from orchestrator.adapters.sql.database import BUSY_TIMEOUT, Database
from orchestrator.adapters.sql.event_log.shared import EventRows
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.tables import event_head
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.event_log import EventBatch, EventHead

T = TypeVar("T")
# Numbers that are left out when a process begins: a power failure may have cost batches that were told already, and
# their numbers must not be used for others.
LEAP = 1 << 16
LOG = 8_000  # pages of the write-ahead log before they go to their places, as for the ledger
TURN = """
INSERT INTO event_writers (owner, serial, at) VALUES (?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET serial = excluded.serial, at = excluded.at WHERE serial < excluded.serial"""
COUNT = "UPDATE event_head SET last = last + 1, size = size + ? WHERE id = 1 RETURNING last"
ADD = "INSERT INTO event_batches (number, at, count, body) VALUES (?, ?, ?, ?)"


class SqliteEventLog(EventRows):
    """`EventLog`. A batch survives the process when `append` returns; it survives a power failure from the next change
    of a task on, so that events cost no waiting for the disk of their own."""

    def __init__(self, database: Database, location: SqliteFile, busy_timeout: float = BUSY_TIMEOUT) -> None:
        super().__init__(database)
        self._location = location
        self._timeout = busy_timeout
        self._pool = ThreadPoolExecutor(1, "events-writer")
        self._connection: sqlite3.Connection | None = None

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._disconnect)
        self._pool.shutdown(wait=True)

    async def head(self, *, begins: bool = False) -> EventHead:
        head = await super().head()
        if head.last == 0 or not begins:
            return head
        await self._database.run(sa.update(event_head).values(last=event_head.c.last + LEAP))
        return await super().head()

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        def write(connection: sqlite3.Connection) -> int:
            if not connection.execute(TURN, (owner, serial, batch.at)).rowcount:
                return 0
            [number] = connection.execute(COUNT, (len(batch.body),)).fetchone()
            connection.execute(ADD, (number, batch.at, batch.count, batch.body))
            return int(number)

        async with self._database.turn or nullcontext():
            return await self._run(write)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._transaction, work)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"{self._location}: {error}") from error

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = _connect(self._location, self._timeout)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return found

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(location: SqliteFile, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(location.path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"wal_autocheckpoint={LOG}"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
