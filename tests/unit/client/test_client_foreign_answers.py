"""What is no orchestrator, and keys that cannot be sent: one type of error, and no word of the key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator_client import AsyncClient, BadRequest, Client, OrchestratorError, Unauthenticated, Unreachable, Worker

NEVER = "http://127.0.0.1:9"


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """A server that says the same to everything; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        await reader.readexactly(int(length[0]) if length else 0)
        writer.write(b"HTTP/1.1 %d OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _events(client: AsyncClient) -> None:
    async for _ in client.events():
        pass


async def _iterate(client: AsyncClient) -> None:
    async for _ in client.iter_tasks("failed"):
        pass


ASKED: list[tuple[Callable[[AsyncClient], Awaitable[Any]], bytes]] = [
    (lambda client: client.get_task("t"), b'{"task":5}'),
    (lambda client: client.get_task("t"), b'{"task":{"task_id":"t","status":"unheard of"}}'),
    (lambda client: client.get_task("t"), b"[" * 100_000),
    (lambda client: client.get_task("t"), b'"text"'),
    (lambda client: client.get_nodes(), b'{"nodes":[]}'),
    (lambda client: client.logs("t"), b'{"logs":[5]}'),
    (lambda client: client.submit_many([{"task_type": "t"}]), b'{"results":5}'),
    (_iterate, b'{"tasks":{"failed":[{}]}}'),
    (_events, b"data: no JSON\n\n"),
    (_events, b"data: [1]\n\n"),
]


@pytest.mark.parametrize(("ask", "body"), ASKED)
async def test_a_foreign_answer_is_an_error_of_ours(ask: Callable[[AsyncClient], Awaitable[Any]], body: bytes) -> None:
    async with answering(body) as url, AsyncClient(url, "") as client, asyncio.timeout(10.0):
        with pytest.raises(OrchestratorError, match="no orchestrator"):
            await ask(client)


async def test_a_foreign_error_is_one_of_ours() -> None:
    async with answering(b"[" * 100_000, status=404) as url, AsyncClient(url, "") as client:
        with pytest.raises(OrchestratorError, match="status 404"):
            await client.get_task("t")


@pytest.mark.parametrize("body", [b'{"heartbeat_interval":"soon"}', b'{"tasks":5}', b'{"tasks":[5]}'])
async def test_a_worker_outlives_foreign_answers(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(body) as url:
        worker = Worker(url, "", node_id="w", heartbeat=0.05)
        worker.task("any")(lambda data: data)
        serving = asyncio.create_task(worker.serve())
        if b"heartbeat" in body:
            with pytest.raises(OrchestratorError, match="no orchestrator"):
                await asyncio.wait_for(serving, 10.0)
            return
        async with asyncio.timeout(10.0):
            while "asking for tasks failed" not in caplog.text:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        assert not serving.done()
        worker.stop()
        await serving


@pytest.mark.parametrize("key", ["kéy-of-mine", "key-of\nmine", "key-of\rmine", "key-of\0mine", "key-of\u2028mine"])
def test_a_key_that_no_header_takes_is_refused_at_once_and_not_shown(key: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(Unauthenticated) as refused:
            kind(NEVER, key)
        assert "mine" not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"


def test_line_breaks_around_a_key_are_of_its_file() -> None:
    with Client(NEVER, "key\n", retries=0) as client, pytest.raises(Unreachable):
        client.get_task("t")


async def test_an_event_id_that_no_header_takes_is_refused() -> None:
    async with AsyncClient(NEVER, "") as client:
        with pytest.raises(BadRequest, match="last_event_id"):
            async for _ in client.events(last_event_id="é"):
                pass


@pytest.mark.parametrize("url", ["http://host:port", "http://[::1", "nowhere", "http://ho\0st"])
def test_what_is_no_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url)
