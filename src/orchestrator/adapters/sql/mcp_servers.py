"""MCP servers that clients have added, in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import metadata
from orchestrator.domain.mcp import McpServer, ServerOrigin
from orchestrator.domain.storable import check_storable, is_key

mcp_servers = sa.Table(
    "mcp_servers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("headers", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)


class SqlMcpServers:
    """`McpServerStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[McpServer, ...]:
        rows = await self._database.rows(sa.select(mcp_servers))
        found = [
            McpServer(row.name, url=row.url, headers=row.headers, origin=ServerOrigin.API, created_at=row.created_at)
            for row in rows
        ]
        return tuple(sorted(found, key=lambda server: server.name))

    async def put(self, server: McpServer) -> None:
        check_storable(server, server.name)
        row = {"name": server.name, "url": server.url, "headers": dict(server.headers), "created_at": server.created_at}
        await self._database.run(self._database.replace(mcp_servers), row)

    async def delete(self, name: str) -> bool:
        if not is_key(name):
            return False
        return await self._database.run(sa.delete(mcp_servers).where(mcp_servers.c.name == name)) > 0
