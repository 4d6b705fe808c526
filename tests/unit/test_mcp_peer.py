"""One MCP server: its connections come and go, and calls find out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.domain.errors import ToolCrashed, ToolFailed, ToolTimeout
from orchestrator.domain.mcp import McpAbout, McpAnswer, McpOffer, McpServer, McpTool, ServerState
from orchestrator.domain.registry_node import RegistryStatus
from orchestrator.domain.retry import RetryPolicy
from orchestrator.ports.mcp import McpConnection, Pinned, Progress
from orchestrator.services.clock import Clock
from orchestrator.services.mcp.peer import McpRules, Means, Peer

RULES = McpRules(connect=1.0, refresh=60.0, retry=RetryPolicy(1, 0.01, 2.0, 0.02))
SERVER = McpServer("one", command=("x",))


class Connection:
    """A connection as the test wants it."""

    def __init__(self, tools: list[str]) -> None:
        self.about = McpAbout("one", "1.0", "2026-07-28", offers=frozenset({"tools"}))
        self.closed = asyncio.Event()
        self.tools = tools
        self.answers: Callable[[str], McpAnswer] = lambda tool: McpAnswer(False, ({"type": "text", "text": tool},))

    async def offer(self, timeout: float) -> McpOffer:
        return McpOffer(tuple(McpTool(name) for name in self.tools))

    async def call(
        self, tool: str, arguments: Mapping[str, Any], timeout: float, progress: Progress | None = None
    ) -> McpAnswer:
        return self.answers(tool)

    async def read(self, uri: str, timeout: float) -> tuple[Mapping[str, Any], ...]:
        return ({"uri": uri, "text": "x"},)

    async def prompt(self, name: str, arguments: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
        return {"description": name, "messages": []}


class Connector:
    """Connections one after the other; the first `failing` attempts fail."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.attempts = 0
        self.tools = ["a"]
        self.latest: Connection | None = None
        self.changed: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def connect(
        self, server: McpServer, pinned: Pinned | None, changed: Callable[[], None], timeout: float
    ) -> AsyncGenerator[McpConnection]:
        self.attempts += 1
        self.changed = changed
        if self.attempts <= self.failing:
            raise ToolCrashed("nobody there")
        self.latest = Connection(self.tools)
        yield self.latest


@asynccontextmanager
async def running(connector: Connector, rules: McpRules = RULES) -> AsyncIterator[Peer]:
    async def load() -> Connector:
        return connector

    async def anywhere(server: McpServer) -> Pinned | None:
        return None

    means = Means(load, anywhere, lambda server: server, Clock(), lambda: 0.5, lambda: None)
    peer = Peer(SERVER, rules, means)
    task = asyncio.create_task(peer.run())
    try:
        yield peer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.005)


async def test_it_tries_until_somebody_answers() -> None:
    connector = Connector(failing=4)
    async with running(connector) as peer:
        assert peer.seen().status is RegistryStatus.INACTIVE
        await until(lambda: peer.error != "")
        assert peer.seen().status is RegistryStatus.ERROR
        with pytest.raises(ToolCrashed, match="nobody there"):
            await peer.call("a", {}, 5.0)
        await until(lambda: peer.state is ServerState.CONNECTED)
        assert (connector.attempts, peer.connections, peer.error) == (5, 1, "")
        assert peer.seen().status is RegistryStatus.ACTIVE
        assert list(peer.tools) == ["one__a"]
        assert (await peer.call("a", {}, 5.0)).text == "a"


async def test_a_call_waits_for_the_connection_after_a_lost_one() -> None:
    connector = Connector()
    async with running(connector) as peer:
        await until(lambda: peer.state is ServerState.CONNECTED)
        assert connector.latest is not None
        connector.latest.closed.set()
        assert (await peer.call("a", {}, 5.0)).text == "a"
        assert peer.connections == 2
        assert list(peer.tools) == ["one__a"]


async def test_the_lists_are_read_again_when_the_server_says_so_or_somebody_asks() -> None:
    connector = Connector()
    async with running(connector) as peer:
        await until(lambda: peer.state is ServerState.CONNECTED)
        connector.tools.append("b")
        connector.changed()
        await until(lambda: len(peer.tools) == 2)
        connector.tools.append("c")
        await peer.refresh(5.0)
        assert list(peer.tools) == ["one__a", "one__b", "one__c"]


async def test_the_lists_are_read_again_after_a_while() -> None:
    connector = Connector()
    rules = McpRules(connect=1.0, refresh=0.02, retry=RULES.retry)
    async with running(connector, rules) as peer:
        await until(lambda: peer.state is ServerState.CONNECTED)
        connector.tools.append("b")
        await until(lambda: len(peer.tools) == 2)


async def test_crashes_open_the_breaker_and_other_failures_do_not() -> None:
    connector = Connector()

    def raising(error: Exception) -> Callable[[str], McpAnswer]:
        def answer(tool: str) -> McpAnswer:
            raise error

        return answer

    async with running(connector) as peer:
        await until(lambda: peer.state is ServerState.CONNECTED)
        assert connector.latest is not None
        for error in (ToolFailed("no"), ToolTimeout("late")):
            connector.latest.answers = raising(error)
            for _ in range(10):
                with pytest.raises(type(error)):
                    await peer.call("a", {}, 1.0)
        assert peer.breaker.state == "closed"
        connector.latest.answers = raising(ToolCrashed("gone"))
        for _ in range(10):
            with pytest.raises(ToolCrashed):
                await peer.call("a", {}, 1.0)
        assert peer.breaker.state == "open"
        connector.latest.answers = lambda tool: McpAnswer(False)
        with pytest.raises(ToolCrashed, match="too often") as refused:
            await peer.call("a", {}, 1.0)
        assert refused.value.retry_after is not None
