"""Databases of the operator's that tools may ask: SQLite files and PostgreSQL servers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.sql.location import PostgresServer, SqliteFile, locate
from orchestrator.adapters.sql.query_server import ServerDatabase, server_name
from orchestrator.domain.errors import ConfigurationError, InvalidRequest, ToolCrashed, ToolFailed, ToolTimeout
from orchestrator.ports.callables import Callables
from orchestrator.ports.queries import Answer, Catalogue, Query, QueryDatabase

FUNCTION = "orchestrator.adapters.sqlite.query_file:ask"
GRACE = 2.0  # seconds, until a process that does not end by itself is killed


def open_databases(urls: Mapping[str, str], own: str, processes: Callables) -> dict[str, QueryDatabase]:
    """The databases by name; `own` is the service's URL. Connects to nothing. Raises ConfigurationError for a URL that
    is wrong, or that is the service's own database."""
    known = own.partition(":")[0] != "memory"
    ours = locate(own) if known else None
    found: dict[str, QueryDatabase] = {}
    for name, url in urls.items():
        try:
            place = locate(url)
        except ConfigurationError as error:
            raise ConfigurationError(f"tools.databases.{name}: {error.message}") from None
        if ours is not None and same_place(place, ours):
            raise ConfigurationError(f"tools.databases.{name}: this is the service's own database")
        if isinstance(place, SqliteFile):
            found[name] = FileDatabase(place, ours if isinstance(ours, SqliteFile) else None, processes)
        else:
            found[name] = ServerDatabase(place)
    return found


def same_place(one: SqliteFile | PostgresServer, other: SqliteFile | PostgresServer) -> bool:
    if isinstance(one, SqliteFile) and isinstance(other, SqliteFile):
        try:
            return os.path.samefile(one.path, other.path)
        except OSError:  # one of them is not there yet
            return os.path.realpath(one.path) == os.path.realpath(other.path)
    if isinstance(one, PostgresServer) and isinstance(other, PostgresServer):
        return server_name(one) == server_name(other)
    return False


class FileDatabase:
    """`QueryDatabase`: a SQLite file. Each query is asked in a process that can be killed."""

    kind = "sqlite"
    catalogue = Catalogue(
        "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite!_%' ESCAPE '!' "
        "ORDER BY name",
        'SELECT name, type, "notnull" = 0 AS nullable, pk > 0 AS key FROM pragma_table_info(?)',
    )

    def __init__(self, place: SqliteFile, ours: SqliteFile | None, processes: Callables) -> None:
        self._place = place
        self._ours = ours
        self._processes = processes

    async def ask(self, query: Query) -> Answer:
        if self._ours is not None and same_place(self._place, self._ours):  # it may have become a link to it
            raise InvalidRequest("This is the service's own database.")
        given = {
            "path": str(self._place.path),
            "statement": query.statement,
            "parameters": query.parameters,
            "max_rows": query.max_rows,
            "max_bytes": query.max_bytes,
            "timeout": query.timeout,
            "writing": query.writing,
        }
        try:
            async with asyncio.timeout(query.timeout + GRACE):
                called = await self._processes.call(FUNCTION, json.dumps(given).encode())
        except TimeoutError:
            raise _late(query) from None
        if called.result is None:
            raise ToolCrashed(called.error)
        return _answer(json.loads(called.result), query)


def _late(query: Query) -> ToolTimeout:
    return ToolTimeout(f"No answer from the database within {query.timeout:g} s.")


def _answer(told: Mapping[str, Any], query: Query) -> Answer:
    if told.get("failed") == "interrupted":
        raise _late(query)
    if "failed" in told:
        raise ToolFailed(f"The database says: {told['failed']}")
    if "refused" in told:
        raise InvalidRequest(f"query: {told['refused']}")
    rows = tuple(tuple(row) for row in told["rows"])
    return Answer(tuple(told["columns"]), rows, told["truncated"], told["changed"])
