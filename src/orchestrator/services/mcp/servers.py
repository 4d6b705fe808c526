"""All servers: those of the operator's configuration, and those that clients have added."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable
from orchestrator.domain.mcp import MOST_SERVERS, SERVER_NAME, McpServer, ServerOrigin
from orchestrator.domain.registry_node import SeenNode
from orchestrator.domain.tool import Tool
from orchestrator.ports.mcp import McpConnector, McpServerStore, Pinned
from orchestrator.services.clock import Clock
from orchestrator.services.egress import HostRule, allowed_address, checked_headers, read_url
from orchestrator.services.mcp.peer import McpRules, Means, Peer

RELOAD = 10.0  # seconds between two looks at what other processes have added
MOST_HEADERS = 50
SETTING = "tools.mcp_hosts"
_log = logging.getLogger("orchestrator.mcp")


class McpServers:
    """`ToolOffers`, and the use cases. Nothing of the SDK is loaded before there is a server."""

    def __init__(
        self,
        store: McpServerStore,
        connector: Callable[[], Awaitable[McpConnector]],
        ready: Callable[[McpServer], McpServer],
        hosts: HostRule,
        rules: McpRules,
        clock: Clock,
        rand: Callable[[], float],
    ) -> None:
        """`connector` loads what makes connections; `ready` gives a server with its secrets read; `hosts` is the
        operator's rule for URLs that clients name, and may be replaced."""
        self.hosts = hosts
        self.rules = rules
        self._store = store
        self._clock = clock
        self._means = Means(connector, self._judged, ready, clock, rand, self._changed)
        self._peers: dict[str, Peer] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tools: Mapping[str, Tool] | None = {}
        self._turn = asyncio.Lock()

    async def start(self, configured: Iterable[McpServer]) -> None:
        """Begins to connect, in the background. Raises StorageUnavailable."""
        for server in configured:
            self._begin(server)
        await self.reload()

    async def stop(self) -> None:
        """Ends every connection and every command that was started."""
        await asyncio.gather(*(self._end(name) for name in [*self._peers]))

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Follows what other processes add and remove, until it is cancelled."""
        while True:
            await sleep(RELOAD)
            try:
                await self.reload()
            except StorageUnavailable as error:
                _log.warning("mcp_servers_not_read", extra={"error": error.message})

    async def reload(self) -> None:
        """Takes over the stored list. Raises StorageUnavailable."""
        async with self._turn:
            stored = {server.name: server for server in await self._store.list()}
            for name, peer in [*self._peers.items()]:
                if peer.server.origin is ServerOrigin.API and stored.get(name) != peer.server:
                    await self._end(name)
            for server in stored.values():
                if server.name not in self._peers:
                    self._begin(server)

    def tools(self) -> Mapping[str, Tool]:
        """By name, from memory. What a server offered last stays while it is away."""
        if self._tools is None:
            self._tools = {name: tool for peer in self._peers.values() for name, tool in peer.tools.items()}
        return self._tools

    def nodes(self) -> Iterator[SeenNode]:
        return (peer.seen() for peer in self._peers.values())

    def all(self) -> tuple[Peer, ...]:
        """By name."""
        return tuple(peer for _, peer in sorted(self._peers.items()))

    def get(self, name: str) -> Peer:
        """Raises NotFound."""
        peer = self._peers.get(name)
        if peer is None:
            raise NotFound(f"There is no MCP server '{name}'", details={"code": "MCP_SERVER_NOT_FOUND"})
        return peer

    async def add(self, name: str, url: str, headers: Mapping[str, str]) -> Peer:
        """A server at a URL, for every process of this installation. Raises InvalidRequest, Conflict, ConnectFailed,
        StorageUnavailable."""
        server = McpServer(name, url=url, headers=dict(headers), origin=ServerOrigin.API, created_at=self._clock.wall())
        check_server(server)
        await self._judged(server)
        async with self._turn:
            if name in self._peers:
                raise Conflict(f"There is an MCP server '{name}' already.")
            if len(self._peers) >= MOST_SERVERS:
                raise Conflict(f"There are {MOST_SERVERS} MCP servers already.")
            await self._store.put(server)
            return self._begin(server)

    async def remove(self, name: str) -> McpServer:
        """Raises NotFound, Conflict for one of the configuration, StorageUnavailable."""
        async with self._turn:
            server = self.get(name).server
            if server.origin is ServerOrigin.CONFIG:
                raise Conflict(f"'{name}' is in the configuration (tools.mcp_servers): it is removed there.")
            await self._store.delete(name)
            await self._end(name)
        return server

    def _begin(self, server: McpServer) -> Peer:
        peer = Peer(server, self.rules, self._means)
        self._peers[server.name] = peer
        self._running[server.name] = asyncio.create_task(peer.run(), name=f"mcp {server.name}")
        return peer

    async def _end(self, name: str) -> None:
        running = self._running.pop(name, None)
        self._peers.pop(name, None)
        self._changed()
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _changed(self) -> None:
        self._tools = None

    async def _judged(self, server: McpServer) -> Pinned | None:
        """Where connections of a client's server go; the operator's own are not judged."""
        if server.origin is ServerOrigin.CONFIG:
            return None
        place = read_url(server.url)
        address = await allowed_address(place.host, place.port, self.hosts)
        if address is None:
            raise InvalidRequest(
                f"url: '{place.host}' is not where MCP servers may be ({SETTING})", details={"field": "url"}
            )
        return Pinned(str(address))


def check_server(server: McpServer) -> None:
    """Raises InvalidRequest for a server that no client may add."""
    if not SERVER_NAME.match(server.name):
        raise InvalidRequest("name: 1 to 40 of a-z, 0-9 and '-'", details={"field": "name"})
    if server.command or not server.url:
        raise InvalidRequest("url: an http or https URL", details={"field": "url"})
    read_url(server.url)
    if len(server.headers) > MOST_HEADERS:
        raise InvalidRequest(f"headers: at most {MOST_HEADERS}", details={"field": "headers"})
    checked_headers(server.headers)
