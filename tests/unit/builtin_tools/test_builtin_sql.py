"""The tools `sql` and `sql-write`, on SQLite and PostgreSQL: what they answer, and what nobody can do with them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from builtin_calls import Caller

from orchestrator.adapters.callables import CallProcesses
from orchestrator.adapters.sql.query_server import first_word
from orchestrator.adapters.sql.query_tool import open_databases
from orchestrator.domain.errors import (
    ConfigurationError,
    Conflict,
    InvalidRequest,
    OrchestratorError,
    ToolFailed,
    ToolTimeout,
)
from orchestrator.domain.tool import SideEffect, ToolStatus
from orchestrator.services.builtin_tools.sql import Sql, SqlWrite

ROWS = "INSERT INTO fruit VALUES (1, 'apple', 0.5), (2, 'pear', 0.75), (3, 'plum', NULL)"
TABLE = "CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price FLOAT)"
OWN = "sqlite:///own.db"


@pytest.fixture
async def processes() -> AsyncIterator[CallProcesses]:
    processes = CallProcesses()
    yield processes
    await processes.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute(TABLE)
        connection.execute(ROWS)
    connection.close()
    return path


@pytest.fixture
async def reader_url(empty_postgres_url: str) -> str:
    """A role that may read and change one table, and nothing else."""
    connection = await asyncpg.connect(empty_postgres_url)
    role = f"reader_{empty_postgres_url.rpartition('/')[2].partition('?')[0]}"
    await connection.execute(TABLE)
    await connection.execute(ROWS)
    await connection.execute(f"DROP ROLE IF EXISTS {role}")
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON fruit TO {role}")
    await connection.close()
    scheme, _, rest = empty_postgres_url.partition("://")
    return f"{scheme}://{role}:secret@{rest.rpartition('@')[2]}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('shop')}"
    found: str = request.getfixturevalue("reader_url")
    return found


@pytest.fixture
def sql(url: str, processes: CallProcesses) -> Caller:
    return Caller(Sql(open_databases({"shop": url}, OWN, processes)))


@pytest.fixture
def sql_write(url: str, processes: CallProcesses) -> Caller:
    return Caller(SqlWrite(open_databases({"shop": url}, OWN, processes)))


def place(url: str) -> str:
    return "?" if url.startswith("sqlite") else "$1"


async def test_query_tables_and_columns(sql: Caller, url: str) -> None:
    found = await sql(query=f"SELECT name, price FROM fruit WHERE id < {place(url)} ORDER BY id", parameters=[3])
    assert found["columns"] == ["name", "price"]
    assert found["rows"] == [{"name": "apple", "price": 0.5}, {"name": "pear", "price": 0.75}]
    assert (found["database"], found["row_count"], found["truncated"]) == ("shop", 2, False)
    tables = (await sql(action="tables"))["rows"]
    assert [row["name"].rpartition(".")[2] for row in tables] == ["fruit"]
    columns = (await sql(action="describe", table="fruit"))["rows"]
    assert [(row["name"], bool(row["key"])) for row in columns] == [("id", True), ("name", False), ("price", False)]
    with pytest.raises(InvalidRequest, match="no 'nuts'"):
        await sql(action="describe", table="nuts")


async def test_values_are_bound_never_written_into_the_statement(sql: Caller, url: str) -> None:
    evil = "x'; DROP TABLE fruit; --"
    text = f"SELECT CAST({place(url)} AS TEXT) AS said"
    assert (await sql(query=text, parameters=[evil]))["rows"] == [{"said": evil}]
    assert (await sql(query="SELECT count(*) AS n FROM fruit"))["rows"] == [{"n": 3}]


async def test_rows_and_bytes_are_bounded(sql: Caller) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
    found = await sql(query=numbers)
    assert (found["row_count"], found["truncated"]) == (1_000, True)
    assert (await sql(query=numbers, max_rows=7))["row_count"] == 7
    assert (await sql(query="SELECT 1 AS a, 2 AS a"))["rows"] == [{"a": 1, "a_2": 2}]


WRITES = (
    "INSERT INTO fruit VALUES (4, 'fig', 1)",
    "DELETE FROM fruit",
    "UPDATE fruit SET price = 0",
    "DROP TABLE fruit",
    "CREATE TABLE other (x INTEGER)",
    "CREATE TEMP TABLE other (x INTEGER)",
    "WITH gone AS (DELETE FROM fruit RETURNING *) SELECT * FROM gone",
    "WITH x AS (SELECT 9) INSERT INTO fruit SELECT 9, 'nine', 9",
    "SELECT 1; DELETE FROM fruit",
    "SELECT 1; DROP TABLE fruit; --",
    "/* select */ DELETE FROM fruit",
    "/* /* */ SELECT */ DELETE FROM fruit",
    "-- x\rDELETE FROM fruit\n-- SELECT",
    "INSERT INTO fruit VALUES (5, 'x', 1) RETURNING id",
    "EXPLAIN ANALYZE DELETE FROM fruit",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "VACUUM",
    "ALTER TABLE fruit ADD COLUMN x TEXT",
    "TRUNCATE fruit",
    # SQLite's
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "UPDATE sqlite_master SET sql = ''",
    "SELECT * FROM pragma_journal_mode('delete')",
    "PRAGMA journal_mode = DELETE",
    "ATTACH DATABASE '/tmp/stolen.db' AS other",
    "ATTACH DATABASE ':memory:' AS other",
    "VACUUM INTO '/tmp/stolen.db'",
    "SELECT load_extension('/tmp/evil.so')",
    "SELECT writefile('/tmp/stolen', 'x')",
    "CREATE VIRTUAL TABLE v USING fts5(x)",
    "REPLACE INTO fruit VALUES (1, 'x', 1)",
    # PostgreSQL's
    "COPY fruit TO PROGRAM 'touch /tmp/stolen'",
    "COPY fruit FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT query_to_xml('DELETE FROM fruit', true, true, '')",
    "SET TRANSACTION READ WRITE",
    "SET ROLE postgres",
    "DO $$ BEGIN DELETE FROM fruit; END $$",
    "CALL nothing()",
    "SELECT * INTO other FROM fruit",
    "SELECT * FROM fruit FOR UPDATE",
    "LISTEN x",
    "PREPARE p AS DELETE FROM fruit",
)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_nothing_is_written_and_nothing_is_left(sql: Caller, shop: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    for statement in WRITES:
        statement = statement.replace("/tmp", str(tmp_path))
        try:
            found = await sql(query=statement)
        except OrchestratorError as error:
            assert isinstance(error, (InvalidRequest, ToolFailed)), (statement, error)  # noqa: PT017
        else:
            # SQLite's EXPLAIN tells the machine's steps without taking them.
            assert statement.startswith("EXPLAIN"), (statement, found)
        assert (await sql(query="SELECT count(*) AS n, sum(id) AS s FROM fruit"))["rows"] == [{"n": 3, "s": 6}]
    assert len((await sql(action="tables"))["rows"]) == 1
    assert files(tmp_path) == before


WRONG = (
        "SELEC 1", "SELECT nothing FROM fruit", "SELECT * FROM nuts", "", " ", ";", "/* ", "-- only a comment",
        "SELECT ?1, ?2", "SELECT $1", "SELECT '\0'", "((((",
)  # fmt: skip


async def test_what_is_wrong_is_the_callers_fault(sql: Caller) -> None:
    for statement in WRONG:
        with pytest.raises(InvalidRequest):
            await sql.tool.run(order(sql, query=statement))


def order(caller: Caller, **arguments: Any) -> Any:
    from orchestrator.domain.tool_call import CallOrder

    return CallOrder("call", caller.tool.tool, arguments, "anna", 1, 30.0)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_statement_without_end_is_ended(sql: Caller) -> None:
    with pytest.raises(ToolTimeout):
        await sql(query=ENDLESS, timeout=0.4)
    running = asyncio.create_task(sql(query=ENDLESS, timeout=60))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await sql(query="SELECT 1 AS one"))["rows"] == [{"one": 1}]


async def test_a_writable_database_is_changed(sql: Caller, sql_write: Caller, url: str) -> None:
    first, second = ("?", "?") if url.startswith("sqlite") else ("$1", "$2")
    text = f"INSERT INTO fruit (id, name) VALUES ({first}, {second})"
    found = await sql_write(query=text, parameters=[4, "fig"])
    assert (found["changed"], found["rows"]) == (1, [])
    found = await sql_write(query="UPDATE fruit SET price = 2 WHERE id > 2 RETURNING name")
    assert sorted(row["name"] for row in found["rows"]) == ["fig", "plum"]
    assert (await sql(query="SELECT sum(price) AS s FROM fruit"))["rows"] == [{"s": 5.25}]
    for statement in (
        "DELETE FROM fruit; DELETE FROM fruit",
        "ATTACH DATABASE 'x.db' AS x",
        "COMMIT",
        "COPY fruit TO '/tmp/x'",
    ):
        with pytest.raises((InvalidRequest, ToolFailed)):
            await sql_write(query=statement)
    with pytest.raises((InvalidRequest, ToolFailed)):  # the name is taken, nothing of it stays
        await sql_write(query="INSERT INTO fruit (id, name) VALUES (9, 'nine'), (1, 'one')")
    assert (await sql(query="SELECT count(*) AS n FROM fruit"))["rows"] == [{"n": 4}]


async def test_values_of_all_kinds(processes: CallProcesses, shop: Path, reader_url: str) -> None:
    both = open_databases({"a": f"sqlite:///{shop}", "b": reader_url}, OWN, processes)
    sql = Caller(Sql(both))
    found = await sql(
        database="a", query="SELECT x'00ff' AS b, :name AS n, NULL AS z, 9e999 AS i", parameters={"name": "x"}
    )
    assert found["rows"] == [{"b": {"base64": "AP8="}, "n": "x", "z": None, "i": "inf"}]
    text = (
        "SELECT 1.10::numeric AS n, DATE '2026-01-02' AS d, $1::timestamp AS t, '{\"a\": [1]}'::jsonb AS j, "
        "ARRAY[1, 2] AS a, '\\x00ff'::bytea AS b, 'NaN'::float AS f, true AS y"
    )
    found = await sql(database="b", query=text, parameters=["2026-01-02T03:04:05"])
    assert found["rows"] == [
        {
            "n": "1.10", "d": "2026-01-02", "t": "2026-01-02T03:04:05", "j": {"a": [1]}, "a": [1, 2],
            "b": {"base64": "AP8="}, "f": "nan", "y": True,
        }
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="database: one of a, b"):
        await sql(query="SELECT 1")
    with pytest.raises(InvalidRequest, match="takes 1, 0 were given"):
        await sql(database="b", query="SELECT $1::int")


async def test_a_role_that_may_do_everything_is_refused(processes: CallProcesses, empty_postgres_url: str) -> None:
    sql = Caller(Sql(open_databases({"b": empty_postgres_url}, OWN, processes)))
    with pytest.raises(Conflict, match="superuser"):
        await sql(query="SELECT 1")


def test_the_services_own_database_cannot_be_named(processes: CallProcesses, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(shop)
    for name in ("shop.db", "link.db", "./shop.db"):
        with pytest.raises(ConfigurationError, match="own database"):
            open_databases({"x": f"sqlite:///{tmp_path / name}"}, f"sqlite:///{shop}", processes)
    own = "postgresql://a:b@db.example/orchestrator"
    for url in ("postgresql://c@DB.example:5432/orchestrator", "postgres://x/orchestrator?host=db.example"):
        with pytest.raises(ConfigurationError, match="own database"):
            open_databases({"x": url.replace("//x/", "///") if "host=" in url else url}, own, processes)
    with pytest.raises(ConfigurationError, match=r"tools\.databases\.x"):
        open_databases({"x": "mysql://a/b"}, own, processes)


async def test_a_link_that_changes_later_does_not_lead_there(
    processes: CallProcesses, shop: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.db"
    own.touch()
    link = tmp_path / "link.db"
    link.symlink_to(shop)
    sql = Caller(Sql(open_databases({"x": f"sqlite:///{link}"}, f"sqlite:///{own}", processes)))
    assert (await sql(query="SELECT 1 AS one"))["row_count"] == 1
    link.unlink()
    link.symlink_to(own)
    with pytest.raises(InvalidRequest, match="own database"):
        await sql(query="SELECT 1")


async def test_without_databases_it_says_how_to_turn_it_on() -> None:
    for tool in (Caller(Sql({})), Caller(SqlWrite({}))):
        assert tool.tool.tool.status is ToolStatus.DISABLED
        with pytest.raises(Conflict, match=r"tools\.databases"):
            await tool.tool.run(order(tool, query="SELECT 1"))
    assert SqlWrite({}).tool.execution.side_effect is SideEffect.WRITE  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("SELECT 1", "select"), ("\n\t ( ( select 1))", "select"), ("/* a */ -- b\n/* c */With", "with"),
        ("/* /* */ SELECT */ COPY x", "copy"), ("-- x\rCOPY", "copy"), ("/* SELECT", ""), ("", ""), ("$$select$$", ""),
    ],
)  # fmt: skip
def test_first_word(statement: str, word: str) -> None:
    assert first_word(statement) == word
