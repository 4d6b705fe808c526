"""The reference of MCP names every route with its permission, and every field of a server."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.domain.mcp import McpServer
from orchestrator.entrypoints.http import openapi_document
from orchestrator.entrypoints.http.mcp.view import server_view
from orchestrator.ports.mcp import McpConnector, Pinned
from orchestrator.services.clock import Clock
from orchestrator.services.mcp.peer import McpRules, Means, Peer

PAGE = (Path(__file__).parents[2] / "docs/reference/mcp.md").read_text()
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `?([a-z.]+)`? \|", re.MULTILINE)


async def load() -> McpConnector:
    raise AssertionError("nobody connects here")


async def judge(server: McpServer) -> Pinned | None:
    return None


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE)}
    served = {
        (method.upper(), path): operation["x-permission"]
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if path.startswith(("/mcp", "/api/v1/mcp"))
    }
    assert written == served


async def test_the_reference_has_every_field() -> None:
    means = Means(load, judge, lambda server: server, Clock(), lambda: 0.5, lambda: None)
    for name, value in server_view(Peer(McpServer("a", url="http://h/"), McpRules(), means), 0.0).items():
        assert f"`{name}`" in PAGE
        if name == "breaker":
            assert all(f"`{inner}`" in PAGE for inner in value)
