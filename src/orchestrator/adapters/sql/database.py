"""One database: connections, transactions, and the drivers' errors in the product's words."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from orchestrator.adapters.sql.cancelling import cancellation_kept
from orchestrator.adapters.sql.location import PostgresServer, SqliteFile
from orchestrator.adapters.sql.sqlite_thread import PRAGMAS
from orchestrator.adapters.sql.turn import Turn
from orchestrator.domain.errors import ConfigurationError, Conflict, InvalidRequest, StorageUnavailable

BUSY_TIMEOUT = 10.0  # seconds that a writer waits for another process's transaction
COMMAND_TIMEOUT = 60.0  # seconds for one statement of PostgreSQL
LOOK_AGAIN = 0.01  # seconds between two tries to open a file that another process begins with
# A plan that suits every value suits no search: of one word there are three, of another half a million. What is asked
# here ends before machine code for it would have paid. A scan that ends with its first hits begins where they were
# found before, and not where another scan has left off.
PLANNED = {"plan_cache_mode": "force_custom_plan", "jit": "off", "synchronize_seqscans": "off"}
IMMEDIATE = "immediate"


class Database:
    """Reads and writes in transactions; a write is durable when its block ends without an error."""

    def __init__(self, engine: AsyncEngine, location: SqliteFile | PostgresServer) -> None:
        self.location = location
        self._reader = engine
        self._writer = engine.execution_options(**{IMMEDIATE: True})
        # SQLite has one writer at a time. Waiting here is fair and wakes at once; its own waiting is a sleep.
        self.turn: Turn | None = Turn() if isinstance(location, SqliteFile) else None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._reader.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with translated(self.location), cancellation_kept():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self.turn or nullcontext():
            with translated(self.location), cancellation_kept():
                async with self._writer.begin() as connection:
                    yield connection

    async def rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        async with self.read() as connection:
            result = await connection.execute(query)
        found: Sequence[sa.Row[Any]] = result.all()
        return found

    async def run(self, statement: sa.Executable, values: Rows | None = None) -> int:
        """Executes in a transaction of its own; returns how many rows were changed."""
        async with self.write() as connection:
            return (await connection.execute(statement, values)).rowcount

    def add(self, table: sa.Table) -> sa.Insert:
        """INSERT that leaves the row with the same primary key as it is."""
        return self.upsert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))

    def replace(self, table: sa.Table) -> sa.Insert:
        """INSERT that replaces the row with the same primary key."""
        insert = self.upsert(table)
        values = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
        return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)

    def upsert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """INSERT that can be told what to do about a row that is there already."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    async def close(self) -> None:
        await self._reader.dispose()


Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@asynccontextmanager
async def open_database(
    location: SqliteFile | PostgresServer, busy_timeout: float = BUSY_TIMEOUT
) -> AsyncGenerator[Database]:
    """Connections are made when they are first needed. A SQLite file and its folder are created for this user only."""
    if isinstance(location, SqliteFile):
        engine = _sqlite_engine(location, busy_timeout)
    else:
        engine = _postgres_engine(location)
    database = Database(engine, location)
    try:
        yield database
    finally:
        await database.close()


def _sqlite_engine(location: SqliteFile, busy_timeout: float) -> AsyncEngine:
    path = location.path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its journal files the permissions of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(f"database file {path}: {error.strerror}") from error
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": busy_timeout},
        pool_size=4,
        hide_parameters=True,
    )
    sa.event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, busy_timeout))
    sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(patience: float, connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver starts no transaction by itself: `_begin_sqlite` does
    cursor = connection.cursor()
    end = time.monotonic() + patience
    try:
        for pragma in (*PRAGMAS, "synchronous=FULL", "foreign_keys=ON"):
            while not _said(cursor, pragma, end):
                await_only(asyncio.sleep(LOOK_AGAIN))
    finally:
        cursor.close()


def _said(cursor: Any, pragma: str, end: float) -> bool:
    """False where another process is in the way; after `end` (monotonic seconds) that is an error. SQLite waits for
    nobody when a new file is switched to a write-ahead log while another process begins with the same file."""
    try:
        cursor.execute(f"PRAGMA {pragma}")
    except sqlite3.OperationalError as error:
        if time.monotonic() > end or "locked" not in str(error):
            raise
        return False
    return True


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails at once when somebody else wrote in between; one that
    # takes the write lock at its start waits for it.
    immediate = connection.get_execution_options().get(IMMEDIATE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _postgres_engine(location: PostgresServer) -> AsyncEngine:
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigurationError(
            "PostgreSQL needs the package asyncpg: install orchestrator[postgres]",
            details={"extra": "postgres"},
        ) from error

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        try:
            return await asyncpg.connect(
                location.dsn,
                timeout=location.connect_timeout,
                command_timeout=COMMAND_TIMEOUT,
                server_settings=PLANNED,
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise _connect_error(error, location) from error
        except ValueError as error:  # says which part of the URL was not understood, which may be the password
            raise ConfigurationError(f"{location}: the URL is malformed") from error

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, pool_size=5, hide_parameters=True
    )


def _connect_error(error: Exception, location: PostgresServer) -> ConfigurationError | StorageUnavailable:
    text = _first_line(error) or type(error).__name__
    # Classes 28, 3D and 42: credentials, unknown database, unknown parameter. Waiting does not mend them.
    if isinstance(error, ValueError) or (getattr(error, "sqlstate", None) or "")[:2] in {"28", "3D", "42"}:
        return ConfigurationError(f"{location}: {text}")
    return StorageUnavailable(f"{location}: {text}")


@contextmanager
def translated(location: SqliteFile | PostgresServer) -> Iterator[None]:
    """Errors of SQLAlchemy, the drivers and the system, as the product's own."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise Conflict("a row with the same unique value exists") from error
    except sa.exc.DBAPIError as error:
        if (getattr(error.orig, "sqlstate", None) or "")[:2] == "22":
            raise InvalidRequest("a value cannot be stored") from error
        if "file is not a database" in str(error.orig):
            raise ConfigurationError(f"{location}: this file is not a SQLite database") from error
        raise StorageUnavailable(f"{location}: {_first_line(error.orig)}") from error
    except (sa.exc.TimeoutError, OSError) as error:
        raise StorageUnavailable(f"{location}: {_first_line(error) or 'no answer in time'}") from error


def _first_line(error: BaseException | None) -> str:
    """PostgreSQL puts rows into the lines that follow."""
    return str(error).partition("\n")[0]
