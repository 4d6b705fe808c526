"""A SQLite connection with a thread of its own, for what is too frequent to pass through SQLAlchemy."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable

T = TypeVar("T")
LOG = 8_000  # pages of the write-ahead log before they go to their places: pages that change often go there once


class SqliteThread:
    """Opened when it is first used."""

    def __init__(self, location: SqliteFile, timeout: float, name: str, pragmas: tuple[str, ...]) -> None:
        """`timeout` is how long (seconds) a write waits for another process's transaction."""
        self._location = location
        self._timeout = timeout
        self._pragmas = ("journal_mode=WAL", f"wal_autocheckpoint={LOG}", *pragmas)
        self._pool = ThreadPoolExecutor(1, name)
        self._connection: sqlite3.Connection | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction. Raises StorageUnavailable."""
        return await self._run("BEGIN", work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for what writes."""
        return await self._run("BEGIN IMMEDIATE", work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._disconnect)
        self._pool.shutdown(wait=True)

    async def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._transaction, begin, work)
        except sqlite3.Error as error:
            if "file is not a database" in str(error):
                raise ConfigurationError(f"{self._location}: this file is not a SQLite database") from error
            raise StorageUnavailable(f"{self._location}: {error}") from error

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        connection.execute(begin)
        try:
            found = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._location.path,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
        )
        try:
            for pragma in self._pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
