"""Who waits for PostgreSQL and is cancelled ends as cancelled, also when the server has gone meanwhile and cannot be
told: otherwise it would go on, and a service that stops would wait for it for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from orchestrator.adapters.sql import open_sql_storage
from orchestrator.adapters.sql.location import PostgresServer, locate
from orchestrator.adapters.sql.query_server import ServerDatabase
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.task import TaskSpec
from orchestrator.ports.event_log import EventBatch
from orchestrator.ports.ledger import TaskQuery
from orchestrator.ports.queries import Query
from orchestrator.ports.store import Storage

TASK = lifecycle.submitted(TaskSpec("x", 1, TaskClass("t"), 5.0), "a", frozenset(), 5.0)
WAITS: dict[str, Callable[[Storage], Coroutine[Any, Any, object]]] = {
    "store": lambda storage: storage.bans.list(),
    "read": lambda storage: storage.ledger.page(TaskQuery()),
    "transaction": lambda storage: storage.ledger.take_over("a", seconds=5.0),
    "commit": lambda storage: storage.ledger.commit([Change(TASK)]),
    "events": lambda storage: storage.event_log.append("a", 1, EventBatch(0, 5.0, 1, b"x")),
}

WAITING = """
SELECT count(l.pid) FROM pg_sleep(0.01) LEFT JOIN pg_locks l ON NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Gate:
    """A way to the database. When it is closed, those who are through stay, and nobody else comes through."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()
        self._until: list[bytes] = []
        self.holds = asyncio.Event()

    async def open(self) -> str:
        """The database's URL through the gate."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1")
        port = self._server.sockets[0].getsockname()[1]
        return self._url.replace(f":{urlsplit(self._url).port}/", f":{port}/")

    def hold(self, *words: bytes) -> None:
        """Who has said these to the server, one after the other, waits for an answer to the last until the gate is
        `cut`."""
        self._until = list(words)

    def close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def cut(self) -> None:
        self.close()
        for one in self._ways:
            one.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(self._url)
        server_reader, server_writer = await asyncio.open_connection(there.hostname, there.port)
        for one in (self._copy(reader, server_writer), self._copy(server_reader, writer)):
            self._ways.add(asyncio.create_task(one))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                if self._until and self._until[0] in data:
                    del self._until[0]
                    if not self._until:
                        self.holds.set()
                        continue
                target.write(data)
        finally:
            target.close()


@pytest.fixture
async def gate(postgres_url: str) -> AsyncIterator[Gate]:
    made = Gate(postgres_url)
    yield made
    await made.cut()


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Nobody else gets at the tables; gives what returns when somebody waits for one."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE tasks, tasks_finished, event_head, bans")

            async def waited_for() -> None:
                async with asyncio.timeout(20):
                    while not await connection.fetchval(WAITING):
                        pass

            yield waited_for
    finally:
        await connection.close()


async def _ended(running: asyncio.Task[Any]) -> None:
    """As cancelled, by one cancellation."""
    await asyncio.wait([running], timeout=20)
    assert running.done()
    assert running.cancelled(), repr(running.exception())


@pytest.mark.parametrize("what", WAITS)
async def test_a_wait_that_is_cancelled_while_the_server_goes(what: str, gate: Gate, postgres_url: str) -> None:
    async with open_sql_storage(await gate.open()) as storage:
        async with _locked(postgres_url) as waited_for:
            running = asyncio.create_task(WAITS[what](storage))
            await waited_for()
            gate.close()
            running.cancel()
            await _ended(running)
        with pytest.raises(StorageUnavailable):  # once it is cancelled, others hear what is the matter
            await asyncio.wait_for(WAITS[what](storage), 20)


async def test_one_that_is_cancelled_while_its_connection_is_given_back(gate: Gate) -> None:
    async with open_sql_storage(await gate.open()) as storage:
        gate.hold(b"FROM bans", b"ROLLBACK")
        running = asyncio.create_task(storage.bans.list())
        await asyncio.wait_for(gate.holds.wait(), 20)
        running.cancel()
        await asyncio.sleep(0)  # it has heard of it, and waits for the server's answer all the same
        await gate.cut()
        await _ended(running)


async def test_a_tool_s_query_that_is_cancelled_while_the_server_goes(gate: Gate, postgres_url: str) -> None:
    url, role = await gate.open(), f"reader_{postgres_url.rpartition('/')[2]}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON bans TO {role}")
        location = locate(f"postgresql://{role}:secret@{url.rpartition('@')[2]}")
        assert isinstance(location, PostgresServer)
        async with _locked(postgres_url) as waited_for:
            running = asyncio.create_task(ServerDatabase(location).ask(Query("SELECT * FROM bans")))
            await waited_for()
            gate.close()
            running.cancel()
            await _ended(running)
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
