"""One server: connected in the background for ever, its lists kept fresh, its calls behind a breaker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerPolicy, BreakerState, Transition
from orchestrator.domain.errors import OrchestratorError, RequestError, ToolCrashed, ToolError
from orchestrator.domain.failure import Failure, FailureKind
from orchestrator.domain.mcp import McpAbout, McpAnswer, McpOffer, McpServer, ServerState, as_tool
from orchestrator.domain.registry_node import RegistryNodeType, RegistrySource, RegistryStatus, SeenNode
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.tool import Tool
from orchestrator.ports.mcp import McpConnection, McpConnector, Pinned, Progress
from orchestrator.services.clock import Clock

STEADY = 10.0  # seconds: a connection that lasted so long was a good one
PATIENCE = 20.0  # seconds that a call waits for a connection that is being made
SETTLE = 0.05  # seconds that changes are collected before the lists are read again
_log = logging.getLogger("orchestrator.mcp")


@dataclass(frozen=True, slots=True)
class McpRules:
    """Times in seconds. `refresh`: between two looks at a server's lists, which is also its health check."""

    connect: float = 30.0
    refresh: float = 60.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(1, 1.0, 2.0, 60.0))
    breaker: BreakerPolicy = field(default_factory=lambda: BreakerPolicy(recovery_successes=1))


@dataclass(frozen=True, slots=True)
class Means:
    """What peers work with. `judge` tells where connections of a server go; it raises InvalidRequest, ConnectFailed."""

    connector: Callable[[], Awaitable[McpConnector]]
    judge: Callable[[McpServer], Awaitable[Pinned | None]]
    ready: Callable[[McpServer], McpServer]  # its secrets read
    clock: Clock
    rand: Callable[[], float]
    changed: Callable[[], None]  # tools have changed


class Peer:
    """Everything known about one server. `run` keeps it connected until it is cancelled."""

    def __init__(self, server: McpServer, rules: McpRules, means: Means) -> None:
        self.server = server
        self.state = ServerState.CONNECTING
        self.about = McpAbout()
        self.offer = McpOffer()
        self.tools: Mapping[str, Tool] = {}
        self.error = ""
        self.connected_at = 0.0  # seconds since the epoch; 0: not connected
        self.refreshed_at = 0.0
        self.retry_at = 0.0
        self.connections = 0
        self.calls = 0
        self.breaker = Breaker(server.node_id, policy=rules.breaker, observe=_tell)
        self._rules = rules
        self._means = means
        self._connection: McpConnection | None = None
        self._settled = asyncio.Event()  # connected, or the last attempt failed
        self._wake = asyncio.Event()
        self._looked = asyncio.Event()
        self._failed = 0  # attempts in a row

    def seen(self) -> SeenNode:
        """As a node of the registry."""
        if self.state is ServerState.CONNECTED:
            status = RegistryStatus.ACTIVE
        else:
            status = RegistryStatus.ERROR if self.error else RegistryStatus.INACTIVE
        server = self.server
        return SeenNode(server.node_id, RegistrySource.MCP, RegistryNodeType.TOOL_EXECUTOR, server.address, status)

    async def run(self) -> None:
        while True:
            self.retry_at = 0.0
            begun = self._means.clock.tick()
            try:
                await self._connect()
                self._lost(ToolCrashed("The connection ended."))
            except OrchestratorError as error:
                self._lost(error)
            self._failed = 1 if self._means.clock.tick() - begun > STEADY else self._failed + 1
            pause = self._rules.retry.delay(self._failed, self._means.rand())
            self.retry_at = self._means.clock.wall() + pause
            await self._until(pause)

    async def refresh(self, timeout: float) -> None:
        """Reads the lists now, or connects now; returns when that was done or the time is over."""
        self._looked.clear()
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._looked.wait()

    async def call(
        self, tool: str, arguments: Mapping[str, Any], timeout: float, progress: Progress | None = None
    ) -> McpAnswer:
        """Raises ToolError."""
        self.calls += 1
        admission = self.breaker.allow(self._means.clock.wall())
        if not admission:
            left = self.breaker.time_left(self._means.clock.wall())
            raise ToolCrashed(
                f"The MCP server '{self.server.name}' has failed too often: {self.error}", retry_after=left
            )
        now = self._means.clock.wall
        try:
            connection = await self._connected(timeout)
            answer = await connection.call(tool, arguments, timeout, progress)
        except ToolCrashed as error:
            self.error = error.message
            failure = Failure(FailureKind.CONNECT, counts_for_breaker=True, retryable=True, reason=error.message)
            self.breaker.failure(now(), failure, admission, self._means.rand())
            raise
        except (ToolError, RequestError):
            self.breaker.success(now(), admission)  # it says no, or takes long: it is there
            raise
        except BaseException:
            self.breaker.release(now(), admission)
            raise
        self.breaker.success(now(), admission)
        return answer

    async def read(self, uri: str, timeout: float) -> tuple[Mapping[str, Any], ...]:
        """A resource. Raises ToolError."""
        return await (await self._connected(timeout)).read(uri, timeout)

    async def prompt(self, name: str, arguments: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
        """Raises ToolError."""
        return await (await self._connected(timeout)).prompt(name, arguments, timeout)

    async def _connected(self, timeout: float) -> McpConnection:
        if self._connection is not None and self._connection.closed.is_set():
            self._leave()  # `run` has not seen it yet
        if self._connection is None and self.state is not ServerState.FAILED:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(timeout, PATIENCE)):
                    await self._settled.wait()
        if self._connection is None:
            raise ToolCrashed(f"The MCP server '{self.server.name}' is not connected: {self.error or 'not yet'}")
        return self._connection

    def _leave(self) -> None:
        """After a good connection calls wait for the next one; after an attempt that failed they do not."""
        if self._connection is not None:
            self.state = ServerState.CONNECTING
            self._settled.clear()
        else:
            self.state = ServerState.FAILED
            self._settled.set()
        self._connection = None

    async def _connect(self) -> None:
        """Connects, and returns when the connection has ended."""
        connector = await self._means.connector()
        pinned = await self._means.judge(self.server)
        ready = self._means.ready(self.server)
        async with connector.connect(ready, pinned, self._wake.set, self._rules.connect) as connection:
            await self._look(connection)
            self._came(connection)
            while not connection.closed.is_set():
                if await self._until(self._rules.refresh, connection.closed):
                    await asyncio.sleep(SETTLE)
                if not connection.closed.is_set():
                    self._wake.clear()
                    await self._look(connection)

    async def _look(self, connection: McpConnection) -> None:
        """Reads the lists."""
        self.about = connection.about
        self.offer = await connection.offer(self._rules.connect)
        found = [as_tool(self.server, self.about, tool) for tool in self.offer.tools]
        tools = {tool.name: tool for tool in found}
        self.refreshed_at = self._means.clock.wall()
        if tools != self.tools:
            self.tools = tools
            self._means.changed()
        self._looked.set()

    def _came(self, connection: McpConnection) -> None:
        self._connection = connection
        self.state, self.error = ServerState.CONNECTED, ""
        self.connected_at = self._means.clock.wall()
        self.connections += 1
        self._settled.set()
        told = {"server": self.server.name, "transport": self.server.transport, "protocol": self.about.protocol}
        _log.info("mcp_server_connected", extra={**told, "tools": len(self.tools)})

    def _lost(self, error: OrchestratorError) -> None:
        was = self.connected_at > 0
        if was or error.message != self.error:
            _log.warning("mcp_server_lost", extra={"server": self.server.name, "error": error.message})
        if self._connection is not None or not was:
            self._leave()
        self.error, self.connected_at = error.message, 0.0
        self._looked.set()

    async def _until(self, seconds: float, closed: asyncio.Event | None = None) -> bool:
        """Waits until somebody wants something, the connection ends, or the time is over; whether before that."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._wake, closed) if event is not None]
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if closed is None:
            self._wake.clear()
        return bool(done)


def _tell(breaker: Breaker, change: Transition) -> None:
    told = {"previous": change.previous.value, "state": change.state.value, "reason": change.reason}
    level = logging.WARNING if change.state is BreakerState.OPEN else logging.INFO
    _log.log(level, "breaker_changed", extra={"node": breaker.node, "model": "", **told})
