"""Processes that share a database have the same MCP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from orchestrator.adapters.memory.mcp_servers import MemoryMcpServers
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, ToolCrashed
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.mcp import McpServer
from orchestrator.ports.mcp import McpConnection, McpConnector, Pinned
from orchestrator.services.clock import Clock
from orchestrator.services.mcp import McpRules, McpServers


class Nobody:
    """No connection is ever made; where one would go is kept."""

    def __init__(self) -> None:
        self.asked: list[Pinned | None] = []

    @asynccontextmanager
    async def connect(
        self, server: McpServer, pinned: Pinned | None, changed: Callable[[], None], timeout: float
    ) -> AsyncGenerator[McpConnection]:
        self.asked.append(pinned)
        if self.asked:
            raise ToolCrashed("nobody there")
        yield


@asynccontextmanager
async def process(
    store: MemoryMcpServers, nobody: Nobody, *configured: McpServer, hosts: tuple[str, ...] = ("10.0.0.0/8",)
) -> AsyncIterator[McpServers]:
    async def load() -> McpConnector:
        return nobody

    servers = McpServers(store, load, lambda server: server, HttpHosts.of(hosts), McpRules(), Clock(), lambda: 0.5)
    await servers.start(configured)
    try:
        yield servers
    finally:
        await servers.stop()


def names(servers: McpServers) -> list[str]:
    return [peer.server.name for peer in servers.all()]


async def test_what_one_adds_and_removes_the_other_follows() -> None:
    store, nobody = MemoryMcpServers(), Nobody()
    async with process(store, nobody) as one, process(store, nobody) as other:
        await one.add("new", "http://10.1.2.3:8000/mcp", {"A": "b"})
        assert names(other) == []
        await other.reload()
        assert names(other) == ["new"]
        await asyncio.sleep(0)
        await one.remove("new")
        await other.reload()
        assert (names(one), names(other)) == ([], [])
        with pytest.raises(NotFound):
            other.get("new")
    assert set(nobody.asked) <= {Pinned("10.1.2.3")}


async def test_the_configuration_is_the_operators() -> None:
    mine = McpServer("mine", command=("x",))
    async with process(MemoryMcpServers(), Nobody(), mine) as servers:
        with pytest.raises(Conflict):
            await servers.add("mine", "http://10.1.2.3/mcp", {})
        with pytest.raises(Conflict):
            await servers.remove("mine")
        await servers.reload()
        assert names(servers) == ["mine"]


async def test_hosts_are_asked_again_for_what_was_stored() -> None:
    """An operator who narrows the list narrows it for servers that were added before."""
    store, nobody = MemoryMcpServers(), Nobody()
    async with process(store, nobody) as servers:
        await servers.add("new", "http://10.1.2.3/mcp", {})
    nobody.asked.clear()
    async with process(store, nobody, hosts=()) as servers:
        peer = servers.get("new")
        async with asyncio.timeout(10):
            while not peer.error:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.005)
        assert "tools.mcp_hosts" in peer.error
        assert nobody.asked == []
        with pytest.raises(InvalidRequest):
            await servers.add("other", "http://10.1.2.3/mcp", {})
