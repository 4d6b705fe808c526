"""Events in PostgreSQL, for any number of processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.adapters.sql.database import COMMAND_TIMEOUT, Database
from orchestrator.adapters.sql.event_log.shared import EventRows
from orchestrator.adapters.sql.location import PostgresServer
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.event_log import EventBatch

if TYPE_CHECKING:
    import asyncpg

CLOSING = 5.0  # seconds


def added(first: int, turn: str = "") -> str:
    """Parts of a WITH that add a batch: its moment, count and body, from `$first` on; `told` has its number. The row of
    `event_head` stays locked until the commit, so that batches become visible in the order of their numbers. `turn`:
    another part, without whose row nothing is added."""
    return f"""
head AS (
    UPDATE event_head SET last = last + 1, size = size + length(${first + 2}::bytea){turn and f" FROM {turn}"}
    WHERE id = 1 RETURNING last),
told AS (
    INSERT INTO event_batches (number, at, count, body)
    SELECT last, ${first}::float8, ${first + 1}::bigint, ${first + 2} FROM head RETURNING number)"""  # noqa: S608


ADD = f"""
WITH turn AS (
    INSERT INTO event_writers (owner, serial, at) VALUES ($1, $2, $3::float8)
    ON CONFLICT (owner) DO UPDATE SET serial = excluded.serial, at = excluded.at
    WHERE event_writers.serial < excluded.serial RETURNING serial),
{added(3, "turn")}
SELECT number FROM told"""  # noqa: S608


class PostgresEventLog(EventRows):
    """`EventLog`."""

    def __init__(self, database: Database, location: PostgresServer) -> None:
        super().__init__(database)
        self._location = location
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._busy = asyncio.Lock()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=CLOSING)
            except TimeoutError:
                connection.terminate()

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        import asyncpg

        async with self._busy:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(
                        self._location.dsn, timeout=self._location.connect_timeout, command_timeout=COMMAND_TIMEOUT
                    )
                number = await self._connection.fetchval(ADD, owner, serial, batch.at, batch.count, batch.body)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                text = str(error).partition("\n")[0] or "no answer in time"
                self._drop()
                raise StorageUnavailable(f"{self._location}: {text}") from error
            except BaseException:
                self._drop()  # in the middle of a statement
                raise
        return int(number or 0)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
