"""A node that leaves the fleet, or comes back with nothing in memory: what was remembered of it is forgotten, and the
requests that it has are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

ADMIN = "/api/orchestrator"
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Hello"}]


@dataclass
class TwoNodes:
    """A service with the policy `prefix_affinity`, and its nodes by id."""

    nodes: dict[str, ModelServer]
    running: RunningService
    client: httpx2.AsyncClient

    async def turn(self) -> httpx2.Response:
        """One turn of the same chat."""
        answer = await self.client.post("/v1/chat/completions", json={"model": "demo", "messages": MESSAGES})
        assert answer.status_code == 200, answer.text
        return answer

    async def home(self) -> str:
        """Where a turn goes."""
        return str((await self.turn()).headers["x-selected-server"])

    async def admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        answer = await self.client.request(method, ADMIN + path, json=body)
        assert answer.status_code < 300, answer.text

    async def move_away(self) -> tuple[str, str]:
        """Has the chat live on the node that it would not go to by itself. That one, and the other."""
        first = await self.home()
        other = next(name for name in self.nodes if name != first)
        await self.admin("POST", f"/servers/{first}/maintenance", {"enabled": True})
        assert await self.home() == other
        await self.admin("POST", f"/servers/{first}/maintenance", {"enabled": False})
        assert await self.home() == other  # its prefix lives there now
        return other, first


@asynccontextmanager
async def two_nodes(tmp_path: Path) -> AsyncIterator[TwoNodes]:
    async with ModelServer(["demo"]) as a, ModelServer(["demo"]) as b, httpx2.AsyncClient(timeout=20) as loader:
        nodes = {"a": a, "b": b}
        for node in nodes.values():
            await loader.post(f"{node.url}/api/generate", json={"model": "demo"})
        config = {
            "nodes": [{"id": name, "url": node.url} for name, node in nodes.items()],
            "gateway": {"policy": "prefix_affinity"},
            "database": {"url": "memory://"},
        }
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
        ):
            await running.healthy(2)
            yield TwoNodes(nodes, running, client)


async def test_a_node_that_was_removed_is_not_where_a_chat_lives(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as fleet:
        home, first = await fleet.move_away()
        await fleet.admin("DELETE", f"/servers/{home}")
        await fleet.admin("POST", "/servers/add", {"id": home, "url": fleet.nodes[home].url})
        await fleet.running.healthy(2)
        assert await fleet.home() == first


async def test_a_node_that_restarted_empty_is_not_where_a_chat_lives(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as fleet:
        home, first = await fleet.move_away()
        node = fleet.nodes[home]
        watched = fleet.running.service.fleet.nodes[home]
        await node.kill()
        await fleet.running.until(lambda: not watched.healthy)
        node.reset()
        await node.restart()
        await fleet.running.healthy(2)
        assert await fleet.home() == first


async def test_a_request_on_a_removed_node_is_answered_by_it(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as fleet:
        home = await fleet.home()
        node = fleet.nodes[home]
        node.mode("hang", times=1)
        turn = asyncio.create_task(fleet.turn())
        await node.wait_for(lambda server: server.hanging == 1)
        await fleet.admin("DELETE", f"/servers/{home}")
        node.release()
        assert (await turn).headers["x-selected-server"] == home
        assert await fleet.home() != home


async def test_a_request_on_a_removed_node_that_dies_moves_to_another(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as fleet:
        home = await fleet.home()
        node = fleet.nodes[home]
        node.mode("hang", times=1)
        turn = asyncio.create_task(fleet.turn())
        await node.wait_for(lambda server: server.hanging == 1)
        await fleet.admin("DELETE", f"/servers/{home}")
        await node.kill()
        answer = await turn
        assert answer.headers["x-selected-server"] != home
        record = fleet.running.service.gateway.history[-1]
        assert [one.node_id for one in record.attempts] == [home, answer.headers["x-selected-server"]]
