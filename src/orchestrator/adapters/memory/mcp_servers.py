"""MCP servers that clients have added, in memory."""

from __future__ import annotations

from orchestrator.domain.mcp import McpServer
from orchestrator.domain.storable import check_storable


class MemoryMcpServers:
    """`McpServerStore` in a dict."""

    def __init__(self) -> None:
        self._servers: dict[str, McpServer] = {}

    async def list(self) -> tuple[McpServer, ...]:
        return tuple(server for _, server in sorted(self._servers.items()))

    async def put(self, server: McpServer) -> None:
        check_storable(server, server.name)
        self._servers[server.name] = server

    async def delete(self, name: str) -> bool:
        return self._servers.pop(name, None) is not None
