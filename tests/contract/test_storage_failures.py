from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.adapters.sql import open_sql_storage
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.domain.tool import Execution, Tool, ToolKind
from orchestrator.domain.tool_call import CallQuery, CallState, ToolCall, moved
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage
from servers.postgres import PostgresServer

NODE = NodeSpec("a", "http://a", NodeKind.OLLAMA, api_key="sk-literal")
TOOL = Tool(str(uuid4()), "weather", "net", execution=Execution(ToolKind.HTTP, {"url": "http://a"}))
CALL = ToolCall(
    str(uuid4()), TOOL.tool_id, TOOL.name, {"word": "sk-literal"}, "ann", CallState.RUNNING, 5.0, idempotency_key="k"
)
OVER = moved(CALL, CallState.SUCCEEDED, ended_at=7.0, attempts=1, result="sk-literal")


def _name(url: str) -> str:
    return url.rpartition("/")[2]


@asynccontextmanager
async def _away(url: str, server: PostgresServer) -> AsyncIterator[None]:
    """The database ends its connections and takes none."""
    name = _name(url)
    await asyncio.to_thread(server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await asyncio.to_thread(
        server.execute, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    try:
        yield
    finally:
        await asyncio.to_thread(server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def _unavailable(asked: Awaitable[object]) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await asked
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert "sk-literal" not in str(caught.value)


async def _ends_and_counts_once(storage: Storage) -> None:
    """The call runs, as before, and ends now; that is its tool's only use."""
    assert await storage.tool_calls.get(CALL.id) == CALL
    assert await storage.tool_calls.count(CallQuery()) == 1
    again = ToolCall(str(uuid4()), TOOL.tool_id, TOOL.name, {}, "ann", CallState.RUNNING, 6.0, idempotency_key="k")
    assert await storage.tool_calls.add(again) == CALL
    assert await storage.tool_calls.save(OVER, CALL)
    assert await storage.tool_calls.get(CALL.id) == OVER
    assert [row["usage_count"] for row in await storage.tool_reports.usage(10, 0)] == [1]


async def test_a_server_that_is_not_there_is_a_retryable_503() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://ann:secret@127.0.0.1:{taken.getsockname()[1]}/fleet"
        with pytest.raises(StorageUnavailable) as caught:
            async with open_storage(url):
                pass
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_server_that_never_answers_ends_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/fleet?connect_timeout=0.2&sslmode=disable"
        async with asyncio.timeout(10):
            with pytest.raises(StorageUnavailable):
                async with open_storage(url):
                    pass


async def test_lost_connections_are_made_again(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with open_storage(postgres_url) as storage:
        await asyncio.gather(*(storage.nodes.put(NODE) for _ in range(5)))
        mine = f"datname = '{_name(postgres_url)}'"
        await asyncio.to_thread(
            postgres_server.execute, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"
        )
        await storage.ping()
        assert await storage.nodes.list() == (NODE,)


async def test_a_database_that_went_away_is_unavailable(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with open_storage(postgres_url) as storage:
        async with _away(postgres_url, postgres_server):
            with pytest.raises(StorageUnavailable):
                await storage.ping()
        await storage.ping()


async def test_calls_of_tools_while_the_database_is_away(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with open_storage(postgres_url) as storage:
        await storage.tools.add(TOOL)
        calls = storage.tool_calls
        await calls.add(CALL)
        async with _away(postgres_url, postgres_server):
            for asked in (
                calls.add(OVER),
                calls.get(CALL.id),
                calls.save(OVER, CALL),
                calls.page(CallQuery(), 10, 0),
                calls.count(CallQuery()),
                calls.running(),
                calls.forget(9.0, 10),
            ):
                await _unavailable(asked)
        await _ends_and_counts_once(storage)


async def test_a_read_only_server_refuses_writes_and_answers_reads(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with open_storage(postgres_url) as storage:
        await storage.nodes.put(NODE)
    name = _name(postgres_url)
    await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with open_storage(postgres_url) as storage:
        assert await storage.nodes.list() == (NODE,)
        with pytest.raises(StorageUnavailable, match="read-only") as caught:
            await storage.nodes.delete("a")
        assert "sk-literal" not in str(caught.value)


async def test_a_file_locked_for_too_long_is_unavailable_and_then_works(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sql_storage(f"sqlite:///{path}", busy_timeout=0.05) as storage:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked"):
                await storage.nodes.put(NODE)
            assert await storage.nodes.list() == (), "readers are never locked out"
            other.execute("ROLLBACK")
        finally:
            other.close()
        await storage.nodes.put(NODE)
        assert await storage.nodes.list() == (NODE,)


async def test_calls_of_tools_while_the_file_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sql_storage(f"sqlite:///{path}", busy_timeout=0.05) as storage:
        await storage.tools.add(TOOL)
        calls = storage.tool_calls
        await calls.add(CALL)
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            for asked in (calls.add(OVER), calls.save(OVER, CALL), calls.forget(9.0, 10)):
                await _unavailable(asked)
            assert await calls.get(CALL.id) == CALL, "readers are never locked out"
            assert await calls.running() == (CALL,)
            other.execute("ROLLBACK")
        finally:
            other.close()
        await _ends_and_counts_once(storage)


async def test_a_damaged_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_storage(f"sqlite:///{path}") as storage:
        await storage.nodes.put(NODE)
    pages = bytearray(path.read_bytes())
    pages[4096:] = b"\xff" * (len(pages) - 4096)
    path.write_bytes(pages)
    with pytest.raises(StorageUnavailable, match="malformed"):
        async with open_storage(f"sqlite:///{path}") as storage:
            await storage.nodes.list()


# Files of this process may not grow over a limit, which looks to SQLite as a full disk does.
FULL_DISK = """
import asyncio, resource, sys
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.storage import open_storage
async def main():
    async with open_storage(sys.argv[1]) as storage:
        await storage.overrides.put({"kept": 1}, "ann", 1.0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        version = 0
        try:
            for n in range(1000):
                version = await storage.overrides.put({"n": n, "text": "x" * 5000}, "ann", 2.0)
        except StorageUnavailable as error:
            print(version, (await storage.overrides.history(1))[0].version, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await storage.overrides.put({"again": 1}, "ann", 3.0)
asyncio.run(main())
"""


async def test_a_full_disk_loses_only_the_write_that_failed(sqlite_url: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", FULL_DISK, sqlite_url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    acknowledged, found, _ = done.stdout.split(maxsplit=2)
    assert int(acknowledged) == int(found) > 1
    async with open_storage(sqlite_url) as storage:
        history = await storage.overrides.history(2000)
    assert history[-1].document == {"kept": 1}
    assert history[0].document == {"again": 1}
    assert len(history) == int(acknowledged) + 1


async def test_a_cancelled_write_leaves_the_storage_working(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        for steps in range(12):
            task = asyncio.create_task(storage.nodes.put(NODE))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            await asyncio.gather(*(storage.nodes.put(NODE) for _ in range(20)))
        assert await storage.nodes.list() == (NODE,)
