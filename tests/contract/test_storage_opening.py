from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.adapters.sql.location import PostgresServer, SqliteFile, locate
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.storage import open_storage

NODE = NodeSpec("a", "http://a", NodeKind.OLLAMA)


async def test_every_url_form_opens_and_answers(storage_url: str) -> None:
    async with open_storage(storage_url) as storage:
        await storage.ping()
        await storage.upgrade()
        assert len(storage.instance_id) == 32


async def test_the_instance_keeps_its_id(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        first = storage.instance_id
    async with open_storage(database_url) as storage:
        assert storage.instance_id == first


async def test_memory_forgets() -> None:
    async with open_storage("memory://") as storage:
        await storage.nodes.put(NODE)
    async with open_storage("memory://") as storage:
        assert await storage.nodes.list() == ()


async def test_a_sqlite_database_is_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    async with open_storage(f"sqlite:///{path}") as storage:
        await storage.nodes.put(NODE)
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert files == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


async def test_the_folder_of_an_operator_keeps_its_permissions(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o750)
    async with open_storage(f"sqlite:///{tmp_path}/state.db"):
        assert stat.S_IMODE(os.stat(tmp_path).st_mode) == 0o750


async def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    async with open_storage(f"sqlite:///{tmp_path}/a b/100%25 größe#1 ;/state.db") as storage:
        await storage.nodes.put(NODE)
    assert (tmp_path / "a b" / "100%25 größe#1 ;" / "state.db").exists()


async def test_driver_names_in_a_url_are_ignored(postgres_url: str) -> None:
    for scheme in ("postgres", "postgresql+psycopg", "postgresql+asyncpg"):
        async with open_storage(postgres_url.replace("postgresql", scheme, 1)) as storage:
            await storage.ping()


async def test_parameters_of_libpq_work(postgres_url: str) -> None:
    async with open_storage(f"{postgres_url}?sslmode=disable&connect_timeout=5&application_name=me") as storage:
        await storage.ping()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///data/state.db", SqliteFile(Path("data/state.db"))),
        ("sqlite+aiosqlite:////var/lib/state.db", SqliteFile(Path("/var/lib/state.db"))),
        (
            "postgres://ann:secret@db/fleet?sslmode=require&connect_timeout=3",
            PostgresServer("postgresql://ann:secret@db/fleet?sslmode=require", "postgresql://db/fleet", 3.0),
        ),
        (
            "postgresql:///fleet?host=/run/postgresql",
            PostgresServer("postgresql:///fleet?host=%2Frun%2Fpostgresql", "postgresql:///run/postgresql/fleet"),
        ),
        (
            "postgresql://ann:secret@db1:1,db2:2/fleet",
            PostgresServer("postgresql://ann:secret@db1:1,db2:2/fleet", "postgresql://db1:1,db2:2/fleet"),
        ),
    ],
)
def test_urls_are_read(url: str, expected: SqliteFile | PostgresServer) -> None:
    found = locate(url)
    assert found == expected
    assert "secret" not in f"{found} {found!r}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "state.db",
        "/var/lib/state.db",
        "mysql://host/db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:state.db",
        "sqlite:////tmp/x.db?mode=ro",
        "postgresql:fleet",
        "postgresql://h/d?connect_timeout=soon",
        "postgresql://ann:secret@[::1/d",
    ],
)
async def test_a_url_that_cannot_be_used_is_named_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database URL") as caught:
        async with open_storage(url):
            pass
    assert "secret" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and they are long enough to look at" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        async with open_storage(f"sqlite:///{path}"):
            pass
    assert path.read_bytes() == before


async def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "state.db", tmp_path):
        with pytest.raises(ConfigurationError, match=f"{path}"):
            async with open_storage(f"sqlite:///{path}"):
                pass


async def test_wrong_credentials_and_names_are_the_operators_fault(postgres_url: str) -> None:
    head, _, tail = postgres_url.partition("@")
    for url in (f"{head}x@{tail}", f"{postgres_url}_missing", f"{postgres_url}?no_such_parameter=1"):
        with pytest.raises(ConfigurationError) as caught:
            async with open_storage(url):
                pass
        assert head.rpartition(":")[2] not in str(caught.value)


def test_without_its_driver_postgresql_names_the_extra_to_install() -> None:
    program = """
import asyncio, sys
sys.modules["asyncpg"] = None
from orchestrator.domain.errors import ConfigurationError
from orchestrator.storage import open_storage
async def main(url):
    async with open_storage(url):
        pass
asyncio.run(main("memory://"))
try:
    asyncio.run(main("postgresql://localhost/fleet"))
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ)
    assert "orchestrator[postgres]" in done.stdout, done.stderr


async def test_a_new_file_that_another_process_is_writing_to_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses at once, whatever the timeout, who would switch such a file to a write-ahead log."""
    path = tmp_path / "orchestrator.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(_opened(f"sqlite:///{path}"))
        assert not (await asyncio.wait([opening], timeout=0.3))[0], "it waits"
        other.execute("COMMIT")
        await asyncio.wait_for(opening, 10.0)


async def test_it_is_not_waited_for_longer_than_for_any_transaction(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            await _opened(f"sqlite:///{path}", 0.2)


async def _opened(url: str, busy_timeout: float = 10.0) -> None:
    async with open_storage(url, busy_timeout=busy_timeout) as storage:
        assert storage.instance_id
