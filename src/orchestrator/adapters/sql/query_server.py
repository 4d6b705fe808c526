"""A PostgreSQL database that tools may ask. Each query has a connection and a transaction of its own; it is prepared
first, so it is one statement, and its values never stand in its text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from orchestrator.adapters.sql.cancelling import cancellation_kept
from orchestrator.adapters.sql.location import PostgresServer
from orchestrator.adapters.sql.query_values import json_value, postgres_value
from orchestrator.domain.errors import Conflict, InvalidRequest, ToolCrashed, ToolFailed, ToolTimeout
from orchestrator.ports.queries import Answer, Catalogue, Query

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]
    Prepared = asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]

PIECE = 200  # rows that are fetched at a time
READING = frozenset({"select", "with", "values", "table", "explain", "show"})
WRITING = READING | {"insert", "update", "delete", "merge"}
_BLANK = re.compile(r"(?:[ \t\n\r\f\v(]|--[^\n\r]*)*")
_WORD = re.compile(r"[A-Za-z]*")
_COMMENT = re.compile(r"/\*|\*/")
# Such a role can run programs and read files on the database's machine, in a transaction that only reads, too.
_MIGHTY = """SELECT rolsuper OR pg_has_role(oid, 'pg_execute_server_program', 'member')
OR pg_has_role(oid, 'pg_read_server_files', 'member') OR pg_has_role(oid, 'pg_write_server_files', 'member')
FROM pg_roles WHERE rolname = session_user"""


def server_name(place: PostgresServer) -> tuple[str, int, str]:
    """Host, port and database of a URL, to tell whether two are the same."""
    parts = urlsplit(place.dsn)
    more = dict(parse_qsl(parts.query))
    host = (parts.hostname or more.get("host", "localhost")).lower()
    host = "localhost" if host in ("127.0.0.1", "::1") else host
    name = parts.path.strip("/") or more.get("dbname", "") or parts.username or ""
    return host, parts.port or int(more.get("port", "5432")), name


class ServerDatabase:
    """`QueryDatabase`."""

    kind = "postgresql"
    catalogue = Catalogue(
        "SELECT table_schema || '.' || table_name AS name, lower(replace(table_type, 'BASE ', '')) AS type "
        "FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable, "
        "EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY(indkey)) AS key "
        "FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )

    def __init__(self, place: PostgresServer) -> None:
        self._place = place

    async def ask(self, query: Query) -> Answer:
        check_statement(query.statement, query.writing)
        if not isinstance(query.parameters, Sequence):
            raise InvalidRequest("parameters: PostgreSQL takes a list, for $1, $2, ...")
        try:
            async with asyncio.timeout(query.timeout):
                with cancellation_kept():
                    return await self._asked(query, query.parameters)
        except TimeoutError:
            raise ToolTimeout(f"No answer from the database within {query.timeout:g} s.") from None

    async def _asked(self, query: Query, parameters: Sequence[Any]) -> Answer:
        async with self._transaction(query) as connection:
            prepared = await connection.prepare(query.statement)
            if not prepared.get_attributes() and not query.writing:
                raise InvalidRequest("query: only statements that give rows may be asked for")
            return await _fetched(prepared, _values(prepared, parameters), query)

    @asynccontextmanager
    async def _transaction(self, query: Query) -> AsyncGenerator[Connection]:
        try:
            import asyncpg
        except ImportError:
            raise Conflict("PostgreSQL needs the package asyncpg: install orchestrator[postgres]") from None
        try:
            connection = await asyncpg.connect(self._place.dsn, timeout=self._place.connect_timeout)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise ToolCrashed(f"{self._place}: the database cannot be reached ({type(error).__name__})") from None
        try:
            if await connection.fetchval(_MIGHTY):
                raise Conflict("The database's role is a superuser, or may use files or programs of its server; give "
                               "tools a role that may only read what it should.")  # fmt: skip
            for name in ("json", "jsonb"):
                await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
            async with connection.transaction(readonly=not query.writing):
                await connection.execute(f"SET LOCAL statement_timeout = {int(query.timeout * 1000) + 500}")
                yield connection
            await connection.close(timeout=2)
        except asyncpg.QueryCanceledError:
            raise ToolTimeout(f"No answer from the database within {query.timeout:g} s.") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _told(error) from None
        finally:
            connection.terminate()


def check_statement(statement: str, writing: bool) -> None:
    """Raises InvalidRequest for what does not begin as a statement that may be asked. `COPY`, for one, is allowed in a
    transaction that only reads, and can run programs."""
    if first_word(statement) not in (WRITING if writing else READING):
        allowed = ", ".join(sorted(WRITING if writing else READING)).upper()
        raise InvalidRequest(f"query: begins with one of {allowed}")


def first_word(statement: str) -> str:
    """Behind blanks, brackets and comments, which PostgreSQL nests."""
    at = _end(_BLANK, statement, 0)
    while statement.startswith("/*", at):
        depth = 0
        for mark in _COMMENT.finditer(statement, at):
            depth += 1 if mark[0] == "/*" else -1
            if depth == 0:
                at = mark.end()
                break
        else:
            return ""
        at = _end(_BLANK, statement, at)
    return statement[at : _end(_WORD, statement, at)].lower()


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _told(error: Exception) -> InvalidRequest | ToolFailed | ToolCrashed:
    state = getattr(error, "sqlstate", None) or ""
    words = str(error).partition("\n")[0]
    # Classes 42, 22, 25, 54: wrong statement, wrong value, not in this transaction, too complex.
    if state[:2] in ("42", "22", "25", "54") or not state:
        return InvalidRequest(f"query: {words}")
    if state[:2] in ("08", "57"):
        return ToolCrashed(f"The database says: {words}")
    return ToolFailed(f"The database says: {words}")


def _values(prepared: Prepared, given: Sequence[Any]) -> list[Any]:
    kinds = [one.name for one in prepared.get_parameters()]
    if len(kinds) != len(given):
        raise InvalidRequest(f"parameters: the statement takes {len(kinds)}, {len(given)} were given")
    try:
        return [postgres_value(value, kind) for value, kind in zip(given, kinds, strict=True)]
    except (ValueError, ArithmeticError) as error:
        raise InvalidRequest(f"parameters: {error}") from None


async def _fetched(prepared: Prepared, values: list[Any], query: Query) -> Answer:
    columns = tuple(one.name for one in prepared.get_attributes())
    if not columns or first_word(query.statement) in ("show", "explain"):
        found = await prepared.fetch(*values, timeout=query.timeout)
        rows = tuple(tuple(json_value(one) for one in row.values()) for row in found)
        return Answer(columns, rows[: query.max_rows], len(rows) > query.max_rows, _changed(prepared))
    cursor = await prepared.cursor(*values)
    shown: list[tuple[Any, ...]] = []
    left = query.max_bytes
    while piece := await cursor.fetch(min(PIECE, query.max_rows + 1 - len(shown))):
        for row in piece:
            one = tuple(json_value(value) for value in row.values())
            left -= len(json.dumps(one))
            if len(shown) >= query.max_rows or left < 0:
                return Answer(columns, tuple(shown), True, _changed(prepared))
            shown.append(one)
    return Answer(columns, tuple(shown), False, _changed(prepared))


def _changed(prepared: Prepared) -> int | None:
    """Rows that were changed, from the words with which the server ends a statement."""
    words = (prepared.get_statusmsg() or "").split()
    return int(words[-1]) if words and words[0] in ("INSERT", "UPDATE", "DELETE", "MERGE") else None
