"""One table of nodes: what is registered on one surface is seen on the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry_contract import EXECUTOR, NOBODY, Registry, registry

from stub_node import DONE, stub_node

WORKER = {"host": "127.0.0.1", "port": 8090, "mode": "pull", "node_type": "storage_node"}


async def by_id(served: Registry) -> dict[str, dict[str, Any]]:
    return {node["id"]: node for node in await served.get("/nodes/")}


async def test_a_worker_is_a_node_with_a_uuid_and_keeps_it(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):  # the second time with another process, on the same database
        async with registry(database_url, tmp_path) as served:
            await served.post("/api/v1/nodes/w-1/register", WORKER)
            node = (await by_id(served))["w-1"]
            assert (node["node_type"], node["status"], node["source"]) == ("STORAGE_NODE", "ACTIVE", "worker")
            seen = (tmp_path / "uuid").read_text() if (tmp_path / "uuid").exists() else node["node_id"]
            assert node["node_id"] == seen
            (tmp_path / "uuid").write_text(node["node_id"])
            assert await served.get(f"/nodes/{seen}") == node


async def test_the_status_of_a_worker_is_one_on_all_surfaces(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:
        await served.post("/api/v1/nodes/w-1/register", WORKER)
        node = (await by_id(served))["w-1"]["node_id"]
        for here, there in (("MAINTENANCE", "maintenance"), ("ERROR", "error"), ("INACTIVE", "offline")):
            assert (await served.put(f"/nodes/{node}", {"status": here}))["status"] == here
            assert (await served.get("/api/v1/nodes/w-1"))["node"]["status"] == there
        for there, here in (("degraded", "ACTIVE"), ("maintenance", "MAINTENANCE"), ("active", "ACTIVE")):
            await served.put("/api/v1/nodes/w-1/status", {"status": there})
            assert (await served.get(f"/nodes/{node}"))["status"] == here
        told = await served.put(f"/nodes/{node}", {"address": "http://elsewhere"}, expect=409)
        assert told["detail"] == told["error"]
        assert (await served.put(f"/nodes/{node}", {"node_type": "ANALYSIS_NODE"}))["node_type"] == "ANALYSIS_NODE"
        assert (await by_id(served))["w-1"]["node_type"] == "ANALYSIS_NODE"


async def test_a_worker_that_goes_leaves_its_tools_on_no_node(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:
        for worker in ("w-1", "w-2"):
            await served.post(f"/api/v1/nodes/{worker}/register", WORKER)
        nodes = await by_id(served)
        first = await served.tool("first", target_node_id=nodes["w-1"]["node_id"])
        second = await served.tool("second", target_node_id=nodes["w-2"]["node_id"])
        await served.call("DELETE", "/api/v1/nodes/w-1")
        assert set(await by_id(served)) == {"w-2"}
        assert (await served.get(f"/tools/{first}"))["target_node_id"] is None
        await served.call("DELETE", f"/nodes/{nodes['w-2']['node_id']}")
        await served.get("/api/v1/nodes/w-2", expect=404)
        assert (await served.get(f"/tools/{second}"))["target_node_id"] is None
        await served.call("DELETE", f"/nodes/{nodes['w-2']['node_id']}", expect=404)


async def test_a_model_server_is_a_node(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:
        server = {"id": "gpu", "url": "http://127.0.0.1:9", "kind": "ollama"}
        await served.post("/api/orchestrator/servers/add", server)
        node = (await by_id(served))["gpu"]
        assert (node["address"], node["node_type"], node["source"]) == (server["url"], "ANALYSIS_NODE", "server")
        assert node["status"] == "INACTIVE"
        path = f"/nodes/{node['node_id']}"
        assert (await served.put(path, {"status": "MAINTENANCE"}))["status"] == "MAINTENANCE"
        shown = await served.get("/api/orchestrator/servers/gpu")
        assert shown["server"]["maintenance"] is True
        await served.put(path, {"status": "ERROR"}, expect=409)
        await served.put(path, {"status": "ACTIVE"})
        assert (await served.get("/api/orchestrator/servers/gpu"))["server"]["maintenance"] is False
        await served.call("DELETE", path)
        await served.get("/api/orchestrator/servers/gpu", expect=404)
        assert await by_id(served) == {}


async def test_a_node_of_the_registry_is_seen_by_the_tasks_and_gets_none(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:
        node = await served.node()
        shown = (await served.get("/api/v1/nodes"))["nodes"][node]
        assert (shown["host"], shown["port"], shown["status"]) == ("worker-1", 8000, "active")
        assert shown["mode"] == "registry"
        assert (await served.get(f"/api/v1/nodes/{node}"))["node"]["metadata"] == {"address": EXECUTOR["address"]}
        task = (await served.post("/api/v1/tasks", {"task_type": "work"}))["task_id"]
        assert (await served.get(f"/api/v1/tasks/{task}"))["task"]["status"] == "pending"


async def test_a_worker_that_registers_with_a_node_s_uuid_is_that_node(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served, stub_node(DONE) as stub:
        node = await served.node()
        tool = await served.tool("on", target_node_id=node)
        body = {"host": "127.0.0.1", "port": stub.port}
        await served.post(f"/api/v1/nodes/{node}/register", body)
        [found] = await served.get("/nodes/")
        assert (found["node_id"], found["source"]) == (node, "worker")
        assert found["address"] == f"http://127.0.0.1:{stub.port}"
        await served.post("/api/v1/tasks", {"task_type": "work"})
        await stub.sent(1)
        assert (await served.get(f"/tools/{tool}"))["target_node_id"] == node
        assert (await served.get("/queries/active-tools-with-nodes"))[0]["address"] == found["address"]


async def test_nodes_registered_twice_are_counted(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:
        for _ in range(3):
            await served.node()
        assert (await served.get("/stats/summary"))["nodes_registered_twice"] == 2
        await served.get(f"/nodes/{NOBODY}", expect=404)
