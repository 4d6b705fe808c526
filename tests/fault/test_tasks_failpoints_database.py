"""PostgreSQL is killed at every failpoint of the service, under load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from failpoint_run import server_killed_at
from orchestrator.testing.failpoints import FAILPOINTS
from servers import postgres


@pytest.fixture(scope="module")
def durable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.PostgresServer]:
    """A server of this file's own, with the settings that PostgreSQL comes with."""
    server = postgres.start(tmp_path_factory.mktemp("server"), os.getpid(), durable=True)
    yield server
    server.stop()


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_postgresql_is_killed_at(name: str, durable_server: postgres.PostgresServer, tmp_path: Path) -> None:
    async def back() -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    await asyncio.to_thread(durable_server.execute, "SELECT 1")
                except RuntimeError:
                    await asyncio.sleep(0.1)
                else:
                    return

    url = await asyncio.to_thread(durable_server.create, f"tasks-{name}")
    await server_killed_at(name, url, tmp_path, durable_server.process, back)
