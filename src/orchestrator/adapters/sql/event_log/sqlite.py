"""Events in a SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import nullcontext

import sqlalchemy as sa

from orchestrator.adapters.sql.database import BUSY_TIMEOUT, Database
from orchestrator.adapters.sql.event_log.shared import EventRows
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_thread import SqliteThread
from orchestrator.adapters.sql.tables import event_head
from orchestrator.ports.event_log import EventBatch, EventHead

# Numbers that are left out when a process begins: a power failure may have cost batches that were told already, and
# their numbers must not be used for others.
LEAP = 1 << 16
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
        self._thread = SqliteThread(location, busy_timeout, "events-writer", ("synchronous=NORMAL",))

    async def close(self) -> None:
        await self._thread.close()

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
            return add_batch(connection, batch)

        async with self._database.turn or nullcontext():
            return await self._thread.write(write)


def add_batch(connection: sqlite3.Connection, batch: EventBatch) -> int:
    """Within a transaction; the batch's number."""
    [number] = connection.execute(COUNT, (len(batch.body),)).fetchone()
    connection.execute(ADD, (number, batch.at, batch.count, batch.body))
    return int(number)
