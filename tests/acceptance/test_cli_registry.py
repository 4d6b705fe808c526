"""`orchestrator registry` and `orchestrator db`, and `python -m orchestrator.database`."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cli_command import CommandLine, environment
from registry_contract import registry


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


async def test_sample_data_is_what_the_contract_has_and_comes_once(
    command: CommandLine, sqlite_url: str, tmp_path: Path
) -> None:
    async with registry(sqlite_url, tmp_path) as served:
        cli = command.at(served.running.url)
        assert (await cli("registry", "sample-data", "--json")).json == {"nodes": 4, "tools": 3, "artifacts": 3}
        assert (await cli("registry", "sample-data", "--json")).json == {"nodes": 0, "tools": 0, "artifacts": 0}
        summary = (await cli("registry", "summary", "--json")).json
        assert (summary["active_nodes"], summary["total_tools"], summary["total_tags"]) == (4, 3, 6)
        assert (summary["total_artifacts"], summary["total_storage_bytes"]) == (3, 1_026_560)
        found = await served.get("/queries/search-tools-by-schema?input_property=file_path")
        assert [row["tool_name"] for row in found] == ["file_analyzer"]


def test_the_schema_goes_up_and_down(command: CommandLine, empty_database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    file.write_text(f"database: {{url: '{empty_database_url}'}}\n")
    where = ("--config", str(file), "--json")
    if empty_database_url.startswith("sqlite"):
        assert command.run("db", "current", *where).status == 2
    upgraded = command.run("db", "upgrade", *where)
    assert upgraded.status == 0, upgraded
    head = upgraded.json["revision"]
    assert upgraded.json["before"] == ""
    checked = command.run("db", "check", *where)
    assert (checked.status, checked.json["ok"], checked.json["differences"]) == (0, True, [])
    assert command.run("db", "downgrade", "-1", "--yes", *where).json["before"] == head
    assert command.run("db", "check", *where).status == 1
    revisions = command.run("db", "history", *where).json["revisions"]
    assert [one["applied"] for one in revisions] == [True] * (len(revisions) - 1) + [False]
    assert command.run("db", "downgrade", "nope", "--yes", *where).status == 2
    assert command.run("db", "upgrade", *where).json["revision"] == head
    assert command.run("db", *where).json == {
        "database": command.run("db", "current", *where).json["database"],
        "revision": head,
        "head": head,
    }


def test_a_missing_index_is_told(command: CommandLine, sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    file.write_text(f"database: {{url: '{sqlite_url}'}}\n")
    assert command.run("db", "upgrade", "--config", str(file)).status == 0
    with closing(sqlite3.connect(tmp_path / "data/orchestrator.db")) as database:
        database.execute("DROP INDEX ix_tools_category")
    checked = command.run("db", "check", "--config", str(file), "--json")
    assert checked.status == 1
    assert checked.json["differences"] == ["add index ix_tools_category"]


async def check(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    """The module's exit status and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "orchestrator.database",
        *arguments,
        env=environment(**variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_module_checks_the_connection(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    file.write_text(f"database: {{url: '{database_url}'}}\n")
    for status, out, err in (
        await check(ORCHESTRATOR_DATABASE__URL=database_url),
        await check(DATABASE_URL=database_url),
        await check("--config", str(file)),
    ):
        assert (status, err) == (0, "")
        assert out.startswith(f"Database connection successful: {database_url.partition('://')[0]}://")
    assert (await check("--no-such-flag"))[0] == 2


async def test_the_module_says_why_there_is_no_connection(sqlite_url: str) -> None:
    status, out, err = await check(ORCHESTRATOR_DATABASE__URL=sqlite_url)
    assert (status, out) == (2, "")
    assert "no such file" in err
    status, out, err = await check(ORCHESTRATOR_DATABASE__URL="postgresql://127.0.0.1:1/none")
    assert (status, out) == (1, "")
    assert err.startswith("Database connection failed: postgresql://127.0.0.1:1/none")
