from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.mcp import McpServer, ServerOrigin
from orchestrator.domain.registry_node import RegistryNodeType, RegistrySource, RegistryStatus, SeenNode
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

ONE = McpServer("one", url="http://h/ö", headers={"A": "'b'; --"}, origin=ServerOrigin.API, created_at=1.5)


async def test_servers_come_back_by_name(storage: Storage) -> None:
    other = replace(ONE, name="a")
    for server in (ONE, other):
        await storage.mcp_servers.put(server)
    assert await storage.mcp_servers.list() == (other, ONE)
    changed = replace(ONE, url="http://other")
    await storage.mcp_servers.put(changed)
    assert await storage.mcp_servers.list() == (other, changed)
    assert await storage.mcp_servers.delete("a")
    assert not await storage.mcp_servers.delete("a")
    assert not await storage.mcp_servers.delete("a\0")
    assert await storage.mcp_servers.list() == (changed,)


async def test_what_no_database_holds_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidRequest):
        await storage.mcp_servers.put(replace(ONE, headers={"A": "\0"}))
    assert await storage.mcp_servers.list() == ()


async def test_they_outlive_the_process(sqlite_url: str) -> None:
    async with open_storage(sqlite_url) as first:
        await first.mcp_servers.put(ONE)
    async with open_storage(sqlite_url) as second:
        assert await second.mcp_servers.list() == (ONE,)


async def test_the_node_of_a_server_that_is_away_stays_inactive_until_it_is_deleted(storage: Storage) -> None:
    node_id = "0f0e0d0c-0b0a-4908-8706-050403020100"
    kind, address = RegistryNodeType.TOOL_EXECUTOR, "http://h/mcp"
    seen = SeenNode("mcp:one", RegistrySource.MCP, kind, address, RegistryStatus.ACTIVE)
    nodes = storage.registry_nodes
    await nodes.see({node_id: seen}, 1.0)
    await nodes.forget(["mcp:one"], 2.0)
    assert [(node.id, node.status) for node in await nodes.page(10, 0)] == [("mcp:one", RegistryStatus.ACTIVE)]
    await nodes.forget([], 3.0)
    assert [(node.id, node.status) for node in await nodes.page(10, 0)] == [("mcp:one", RegistryStatus.INACTIVE)]
    assert await nodes.own() == ()
    assert await nodes.delete(node_id)
