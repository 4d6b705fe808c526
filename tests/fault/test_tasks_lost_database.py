"""The database goes away under load, PostgreSQL or the process that writes to SQLite: no accepted task is lost, and
nothing runs twice, as no process that hands out tasks or runs them was gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from servers import postgres
from service import spawned_service
from task_load import CONFIG, Load, Place, until
from worker_stubs import pull_worker, push_worker

PAUSE = 0.04  # seconds between a client's tasks
SHARES = (0.25, 0.5, 0.75)


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[postgres.PostgresServer]:
    """A server of the test's own, with the settings that PostgreSQL comes with."""
    (folder := tmp_path / "server").mkdir()
    server = postgres.start(folder, os.getpid(), durable=True)
    yield server
    server.stop()


@asynccontextmanager
async def _loaded(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Load, int]]:
    """A service under load, and its process; when the block has ended, everything must end well."""
    place = Place()
    load = Load(place, pause=PAUSE)
    async with AsyncExitStack() as stack:
        arguments = ("--database-url", database_url)
        service = stack.enter_context(spawned_service(CONFIG, tmp_path, arguments=arguments))
        place.urls = [service.url]
        accepting = push_worker("async", place, seconds=0.03, accepts=True, listener=load.note)
        workers = [
            await stack.enter_async_context(push_worker("sync", place, seconds=0.02, listener=load.note)),
            await stack.enter_async_context(accepting),
            await stack.enter_async_context(pull_worker("pull", place, seconds=0.02, listener=load.note)),
        ]
        clients = await stack.enter_async_context(load.clients())
        yield load, service.process.pid
        assert len(load.accepted) < len(load.keys), "it was not under load"
        await load.finish(service.url, clients, workers, 60)
    await load.check(database_url)


async def test_the_server_is_killed(durable_server: postgres.PostgresServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(durable_server.create, "tasks")
    async with _loaded(url, tmp_path) as (load, _):
        for share in SHARES[:2]:
            await until(load.part(share))
            durable_server.kill()


async def test_connections_are_cut(postgres_url: str, postgres_server: postgres.PostgresServer, tmp_path: Path) -> None:
    name = postgres_url.rpartition("/")[2]
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with _loaded(postgres_url, tmp_path) as (load, _):
        for share in SHARES:
            await until(load.part(share))
            await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await asyncio.to_thread(postgres_server.execute, cut)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def test_the_process_that_writes_to_sqlite_is_killed(tmp_path: Path) -> None:
    async with _loaded(f"sqlite:///{tmp_path}/data/orchestrator.db", tmp_path) as (load, service):
        killed = set()
        for share in SHARES:
            await until(load.part(share))
            killed.add(writer := _writer_of(service))
            os.kill(writer, signal.SIGKILL)
        assert len(killed) == len(SHARES)


def _writer_of(service: int) -> int:
    """The process that writes to the service's SQLite file."""
    children = Path(f"/proc/{service}/task/{service}/children").read_text().split()
    [found] = [int(pid) for pid in children if b"sqlite_program" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found
