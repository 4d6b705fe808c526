"""A SQLite connection with a thread of its own, for what is too frequent to pass through SQLAlchemy."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_program import opened
from orchestrator.domain.errors import ConfigurationError, OrchestratorError, StorageUnavailable

T = TypeVar("T")
BEGIN = "BEGIN IMMEDIATE"  # of what writes
PRAGMAS = ("journal_mode=WAL", "wal_autocheckpoint=0")  # `Checkpoints` does that, and no commit has to
# A statement of many rows keeps what it changes until it ends: in a file it would be half of all that is written, and
# the file's coming and going is part of what the next commit waits for.
MEMORY = "temp_store=MEMORY"


class SqliteThread:
    """Opened when it is first used."""

    def __init__(self, location: SqliteFile, timeout: float, name: str, pragmas: tuple[str, ...]) -> None:
        """`timeout` is how long (seconds) a write waits for another process's transaction."""
        self._location = location
        self._timeout = timeout
        self._pragmas = (*PRAGMAS, MEMORY, *pragmas)
        self._pool = ThreadPoolExecutor(1, name)
        self._connection: sqlite3.Connection | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction. Raises StorageUnavailable."""
        return await self.use(lambda connection: transaction(connection, lambda: work(connection), "BEGIN"))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for what writes."""
        return await self.use(lambda connection: transaction(connection, lambda: work(connection)))

    async def ask(self, statement: str) -> tuple[Any, ...]:
        """The first row of what a statement says, without a transaction. Raises StorageUnavailable."""
        return await self.use(lambda connection: tuple(connection.execute(statement).fetchone()))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._disconnect)
        self._pool.shutdown(wait=True)

    async def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Without a transaction; what is begun one after the other is done in that order. Raises StorageUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)
        except sqlite3.Error as error:
            raise refused(self._location, str(error)) from error

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            connection = self._connection = opened(str(self._location.path), self._timeout, self._pragmas)
        return work(connection)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def refused(location: SqliteFile, message: str) -> OrchestratorError:
    """SQLite's error in the product's words."""
    if "file is not a database" in message:
        return ConfigurationError(f"{location}: this file is not a SQLite database")
    return StorageUnavailable(f"{location}: {message}")


def transaction(connection: sqlite3.Connection, work: Callable[[], T], begin: str = BEGIN) -> T:
    connection.execute(begin)
    try:
        found = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found
