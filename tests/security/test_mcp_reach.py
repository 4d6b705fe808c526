"""Where connections to MCP servers go: to the address that was judged, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from orchestrator.adapters.mcp.http import MOST_BODY, PinnedTransport
from orchestrator.ports.mcp import Pinned
from service import free_port, running_service

SERVERS = "/api/v1/mcp/servers"


class Listener:
    """Answers every request with the same bytes, and keeps what came."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heard.append(head)
            writer.write(self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(answer: bytes) -> AsyncIterator[Listener]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


def moved(port: int) -> bytes:
    head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{port}/mcp\r\n"
    return head.encode() + b"Content-Length: 0\r\nConnection: close\r\n\r\n"


async def test_a_name_is_reached_at_the_address_that_was_judged() -> None:
    async with listening(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok") as listener:
        url = f"http://mcp.example.invalid:{listener.port}/mcp"
        transport = PinnedTransport(url, Pinned("127.0.0.1"))
        async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
            assert (await client.get(url)).text == "ok"
            for other in (f"http://other.invalid:{listener.port}/", "http://mcp.example.invalid:1/"):
                with pytest.raises(httpx2.UnsupportedProtocol):
                    await client.get(other)
        assert f"host: mcp.example.invalid:{listener.port}".encode() in listener.heard[0].lower()
        assert len(listener.heard) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b"x" * (MOST_BODY + 1),
    ],
)
async def test_an_answer_is_bounded_and_never_unpacked(answer: bytes) -> None:
    async with listening(answer) as listener:
        url = f"http://127.0.0.1:{listener.port}/mcp"
        async with httpx2.AsyncClient(transport=PinnedTransport(url, None), trust_env=False) as client:
            with pytest.raises(httpx2.HTTPError):
                await client.get(url)


async def test_a_redirect_leads_nowhere(tmp_path: Path) -> None:
    async with (
        listening(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as inner,
        listening(moved(inner.port)) as outer,
    ):
        config = {"tools": {"mcp_hosts": ["127.0.0.0/8"]}}
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            body = {"name": "moved", "url": f"http://127.0.0.1:{outer.port}/mcp"}
            assert (await client.post(SERVERS, json=body)).status_code == 201
            peer = running.service.mcp.get("moved")
            await running.until(lambda: peer.error != "", timeout=30)
        assert outer.heard
        assert not inner.heard


async def test_what_the_operator_does_not_allow_is_never_connected_to(tmp_path: Path) -> None:
    async with listening(b"") as listener:
        for hosts in ([], ["mcp.example.com"], ["10.0.0.0/8"], ["0.0.0.0/0"]):
            folder = tmp_path / str(free_port())
            folder.mkdir()
            async with (
                running_service({"tools": {"mcp_hosts": hosts}}, folder) as running,
                httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
            ):
                for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"):
                    body = {"name": "inner", "url": f"http://{host}:{listener.port}/mcp"}
                    refused = await client.post(SERVERS, json=body)
                    assert refused.status_code == 400, (hosts, host, refused.text)
                assert (await client.get(SERVERS)).json()["servers"] == []
        assert listener.heard == []


async def test_a_variable_is_not_given_to_a_server_that_a_client_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_MCP_SECRET", "do-not-tell")
    async with listening(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as listener:
        async with (
            running_service({"tools": {"mcp_hosts": ["127.0.0.0/8"]}}, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            url = f"http://127.0.0.1:{listener.port}/mcp"
            body = {"name": "asks", "url": url, "headers": {"X-Key": "env:TEST_MCP_SECRET"}}
            assert (await client.post(SERVERS, json=body)).status_code == 201
            await running.until(lambda: bool(listener.heard), timeout=30)
        assert b"env:TEST_MCP_SECRET" in listener.heard[0]
        assert not any(b"do-not-tell" in head for head in listener.heard)
