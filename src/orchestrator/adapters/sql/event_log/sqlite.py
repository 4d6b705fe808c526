"""Events in a SQLite file."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.event_log.shared import EventRows
from orchestrator.adapters.sql.sqlite_process import SqliteProcess
from orchestrator.adapters.sql.sqlite_program import Step
from orchestrator.adapters.sql.tables import event_head
from orchestrator.adapters.sql.turn import Turn
from orchestrator.ports.event_log import EventBatch, EventHead

# Numbers that are left out when a process begins: a power failure may have cost batches that were told already, and
# their numbers must not be used for others.
LEAP = 1 << 16
TURN = """
INSERT INTO event_writers (owner, serial, at) VALUES (?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET serial = excluded.serial, at = excluded.at WHERE serial < excluded.serial"""
COUNT = "UPDATE event_head SET last = last + 1, size = size + ? WHERE id = 1"
ADD = "INSERT INTO event_batches (number, at, count, body) SELECT last, ?, ?, ? FROM event_head WHERE id = 1"
LAST = "SELECT last FROM event_head WHERE id = 1"


class SqliteEventLog(EventRows):
    """`EventLog`. A batch survives the process when `append` returns; it survives a power failure from the next change
    of a task on, so that events cost no waiting for the disk of their own."""

    def __init__(self, database: Database, writer: SqliteProcess) -> None:
        super().__init__(database)
        self._turn = database.turn or Turn()
        self._writer = writer

    async def head(self, *, begins: bool = False) -> EventHead:
        head = await super().head()
        if head.last == 0 or not begins:
            return head
        await self._database.run(sa.update(event_head).values(last=event_head.c.last + LEAP))
        return await super().head()

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        steps = [(TURN, (owner, serial, batch.at), 1), *batch_steps(batch)]
        # In no turn of its own: it is done in no time, and whoever comes next would wait until the answer was noticed.
        # The process does one thing after the other, and SQLite has the others wait.
        async with self._turn.beside():
            rows = await self._writer.write(steps, LAST, durable=False)
        return int(rows[0][0]) if rows else 0


def batch_steps(batch: EventBatch) -> list[Step]:
    """What adds a batch, within a transaction; `LAST` then asks for its number."""
    return [(COUNT, (len(batch.body),), 1), (ADD, (batch.at, batch.count, batch.body), 1)]


def add_batch(connection: sqlite3.Connection, batch: EventBatch) -> int:
    """Within a transaction; the batch's number."""
    for statement, values, _ in batch_steps(batch):
        connection.execute(statement, values)
    [number] = connection.execute(LAST).fetchone()
    return int(number)
