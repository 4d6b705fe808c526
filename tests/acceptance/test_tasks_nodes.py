"""Worker nodes under /api/v1: checks 3 to 12, 26, 28 and 30 of the tasks contract as far as they need no tasks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.domain.access import Role
from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

GUIDE = {"host": "localhost", "port": 8080, "capabilities": ["ai_inference"]}
LIST_FIELDS = {
    *("node_id", "host", "port", "node_type", "status", "capabilities", "agents_count", "cpu_usage", "memory_usage"),
    *("gpu_usage", "load_score", "last_heartbeat", "version", "location", "uptime"),
}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("port", {"port": "abc"}),
    ("port", {"port": 0}),
    ("port", {"port": True}),
    ("port", {"port": 80.5}),
    ("host", {"host": 5}),
    ("host", {"host": "evil.example/path"}),
    ("host", {"host": "user@h"}),
    ("host", {"host": "2852039166"}),
    ("host", {"host": "0xA9FEA9FE"}),
    ("host", {"host": "169.254.169.254"}),
    ("host", {"host": "::ffff:169.254.169.254"}),
    ("host", {"host": "[fe80::1]"}),
    ("host", {"host": "0.0.0.0"}),
    ("capabilities", {"capabilities": "gpu"}),
    ("capabilities", {"capabilities": [1]}),
    ("capabilities", {"capabilities": ["x" * 201]}),
    ("cpu_usage", {"cpu_usage": "x"}),
    ("cpu_usage", {"cpu_usage": -1}),
    ("load_score", {"load_score": []}),
    ("labels", {"labels": {"zone": 1}}),
    ("mode", {"mode": "fax"}),
    ("max_concurrency", {"max_concurrency": 0}),
    ("max_concurrency", {"max_concurrency": 10_000}),
    ("metadata", {"metadata": []}),
    ("metadata", {"metadata": {"x": "y" * 20_000}}),
    ("metadata.task_path", {"metadata": {"task_path": "http://elsewhere/"}}),
    ("metadata.task_path", {"metadata": {"task_path": "/a b"}}),
    ("metadata.task_path", {"metadata": {"task_path": "/x/../y"}}),
    ("agents", {"agents": {}}),
    ("agents[0]", {"agents": ["a"]}),
    ("agents[1].agent_id", {"agents": [{"agent_id": "a"}, {}]}),
    ("agents[0].tasks_running", {"agents": [{"agent_id": "a", "tasks_running": -1}]}),
]
AGENT_FIELDS = {
    *("agent_id", "agent_type", "status", "capabilities", "tasks_running", "tasks_completed", "efficiency_score"),
    *("specialized_models", "last_activity"),
}


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20) as client,
    ):
        yield running, client


async def registered(client: httpx2.AsyncClient, node_id: str = "n", **body: Any) -> None:
    answer = await client.post(f"/nodes/{node_id}/register", json=GUIDE | body)
    assert answer.status_code == 200, answer.text


async def node(client: httpx2.AsyncClient, node_id: str = "n") -> dict[str, Any]:
    answer = await client.get(f"/nodes/{node_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["node"]
    return found


def refused(answer: httpx2.Response, status: int, code: str, text: str) -> dict[str, Any]:
    """An error in the contract's form; its details."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"success", "error", "details", "timestamp"}
    assert body["success"] is False
    assert text in body["error"]
    details: dict[str, Any] = body["details"]
    assert details["code"] == code
    return details


async def test_3_register_as_the_guide_does(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        answer = await client.post("/nodes/node-001/register", json=GUIDE | {"node_id": "another", "unknown": 1})
        body = answer.json()
    assert answer.status_code == 200
    assert body["success"] is True
    assert body["node_id"] == body["data"]["node_id"] == "node-001"
    assert body["message"] == "Node node-001 registered successfully"
    assert body["timestamp"].endswith("Z")
    assert body["heartbeat_interval"] == 30


async def test_4_defaults(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await client.post("/nodes/n/register", json={"host": "h"})
        found = await node(client)
    wanted = {
        "node_id": "n",
        "host": "h",
        "port": 8080,
        "node_type": "worker",
        "status": "active",
        "version": "1.0.0",
        "location": None,
        "capabilities": [],
        "agents_count": 0,
        "agents": [],
        "metadata": {},
        "labels": {},
        "network_latency": 0,
        "load_score": 0,
        "reliability_score": 1.0,
        "tasks_completed": 0,
        "tasks_failed": 0,
        "mode": "push",
        "max_concurrency": 4,
        "task_types": [],
    }
    assert found | wanted == found
    assert found["last_heartbeat"] > 1.7e9


async def test_5_agents_are_those_that_the_node_has(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        for _ in range(2):
            await registered(client, agents=[{"agent_id": "a1", "capabilities": ["see"]}])
            found = await node(client)
            assert [agent["agent_id"] for agent in found["agents"]] == ["a1"]
            assert found["agents_count"] == 1
            assert found["agents"][0].keys() >= AGENT_FIELDS
        beat = {"agents": [{"agent_id": "a1", "tasks_running": 3}, {"agent_id": "a2"}]}
        assert (await client.post("/nodes/n/heartbeat", json=beat)).status_code == 200
        first, second = (await node(client))["agents"]
        assert (first["tasks_running"], first["capabilities"], second["agent_id"]) == (3, ["see"], "a2")

        await registered(client, "m", agents=[{"agent_id": "a2"}])
        agents = (await client.get("/agents")).json()
        assert agents["agents"].keys() == {"a1", "n:a2", "m:a2"}
        assert agents["total_agents"] == 3
        assert (await client.get("/agents/a1")).json()["agent"]["node_id"] == "n"
        refused(await client.get("/agents/zz"), 404, "AGENT_NOT_FOUND", "Agent not found")


async def test_6_what_is_wrong_is_named(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        for field, body in WRONG:
            answer = await client.post("/nodes/n/register", json=body)
            assert refused(answer, 400, "INVALID_REQUEST", field)["field"] == field
            assert not running.service.workers.all()


async def test_6_bodies_and_routes_that_are_none(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        there, form = "/nodes/n/register", {"Content-Type": "application/json"}
        refused(await client.post(there, json={}), 400, "INVALID_REQUEST", "No data provided")
        refused(await client.post(there), 400, "INVALID_REQUEST", "No data provided")
        for broken in (b"{", b"\xff", b"[" * 100_000, b'{"port": NaN}', b"[]", b'"x"'):
            refused(await client.post(there, content=broken, headers=form), 400, "INVALID_REQUEST", "")
        text = {"Content-Type": "text/plain"}
        refused(await client.post(there, content=b"{}", headers=text), 415, "UNSUPPORTED_MEDIA_TYPE", "JSON")
        nul = {"metadata": {"x": "\0"}}
        refused(await client.post(there, json=nul), 400, "INVALID_REQUEST", "NUL")
        refused(await client.post("/nodes/a%20b/register", json=GUIDE), 400, "INVALID_REQUEST", "node_id")
        refused(await client.get("/nothing"), 404, "NOT_FOUND", "Not found")
        refused(await client.delete("/nodes"), 405, "METHOD_NOT_ALLOWED", "Method Not Allowed")
        assert (await client.get("/nodes")).json()["total_nodes"] == 0


async def test_7_the_list(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client, "node-001")
        await registered(client, "node-002")
        await client.put("/nodes/node-002/status", json={"status": "degraded"})
        body = (await client.get("/nodes")).json()
    assert (body["success"], body["total_nodes"], body["active_nodes"]) == (True, 2, 1)
    assert body["nodes"]["node-001"]["load_score"] == 0
    assert body["nodes"]["node-001"].keys() >= LIST_FIELDS
    assert body["data"]["nodes"] == body["nodes"]


async def test_8_heartbeat(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client)
        told = {"status": "active", "cpu_usage": 45.2, "memory_usage": 62.8, "load_score": 0.52, "tasks_running": 1}
        extra = {"agents_status": {"total_agents": 1, "agent_list": ["x"]}, "timestamp": "2026-01-01", "node_id": "n"}
        answer = await client.post("/nodes/n/heartbeat", json=told | extra)
        assert (answer.status_code, answer.json()["message"]) == (200, "Heartbeat updated")
        assert answer.json()["cancel"] == []
        found = await node(client)
        assert (found["cpu_usage"], found["memory_usage"], found["load_score"]) == (45.2, 62.8, 0.52)
        assert (await client.post("/nodes/n/heartbeat", json={"cpu_usage": 250})).status_code == 200
        for empty in ({"json": {}}, {}):
            assert (await client.post("/nodes/n/heartbeat", **empty)).status_code == 200
        found = await node(client)
        assert (found["cpu_usage"], found["load_score"]) == (100, 0.52)
        bad = await client.post("/nodes/n/heartbeat", json={"cpu_usage": 1, "status": "dancing"})
        refused(bad, 400, "INVALID_REQUEST", "Invalid status: dancing")
        assert (await node(client))["cpu_usage"] == 100
        agents = {"agents": [{"agent_id": "a", "resource_usage": {"x": "\0"}}]}
        refused(await client.post("/nodes/n/heartbeat", json=agents), 400, "INVALID_REQUEST", "NUL")


async def test_9_heartbeat_of_nobody(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        refused(await client.post("/nodes/n/heartbeat", json={}), 404, "NODE_NOT_FOUND", "Node not found")
        refused(await client.get("/nodes/n"), 404, "NODE_NOT_FOUND", "Node not found")
        refused(await client.delete("/nodes/n"), 404, "NODE_NOT_FOUND", "Node not found")


@pytest.mark.parametrize("status", ["maintenance", "degraded", "error"])
async def test_10_what_an_operator_set_sticks(tmp_path: Path, status: str) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client)
        answer = (await client.put("/nodes/n/status", json={"status": status})).json()
        assert (answer["old_status"], answer["new_status"]) == ("active", status)
        for told in ({}, {"status": "active"}):
            await client.post("/nodes/n/heartbeat", json=told)
            assert (await node(client))["status"] == status
        await registered(client)
        assert (await node(client))["status"] == status
        await client.put("/nodes/n/status", json={"status": "active"})
        assert (await node(client))["status"] == "active"
        await client.post("/nodes/n/heartbeat", json={"status": "degraded"})
        await client.post("/nodes/n/heartbeat", json={})
        assert (await node(client))["status"] == "degraded"
        await client.post("/nodes/n/heartbeat", json={"status": "active"})
        assert (await node(client))["status"] == "active"


async def test_10_drain(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client)
        answer = (await client.post("/nodes/n/drain")).json()
        assert (answer["message"], answer["new_status"]) == ("Node n is draining", "maintenance")
        await client.post("/nodes/n/heartbeat", json={"status": "active"})
        assert (await node(client))["status"] == "maintenance"


async def test_11_bad_status(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client)
        where = "/nodes/n/status"
        refused(await client.put(where, json={"status": "foo"}), 400, "INVALID_REQUEST", "Invalid status: foo")
        refused(await client.put(where, json={}), 400, "INVALID_REQUEST", "Status required")
        refused(await client.put(where, json={"status": []}), 400, "INVALID_REQUEST", "Status required")
        refused(await client.put("/nodes/x/status", json={}), 400, "INVALID_REQUEST", "Status required")
        missing = await client.put("/nodes/x/status", json={"status": "active"})
        refused(missing, 404, "NODE_NOT_FOUND", "Node not found")


async def test_12_unregister(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        gone: list[tuple[str, str]] = []
        running.service.workers.on_lost.append(lambda worker, reason: gone.append((worker, reason)))
        await registered(client)
        assert (await client.delete("/nodes/n")).json()["success"] is True
        assert gone == [("n", "removed")]
        refused(await client.delete("/nodes/n"), 404, "NODE_NOT_FOUND", "Node not found")


async def test_30_a_node_that_falls_silent_is_offline_until_it_is_heard(tmp_path: Path) -> None:
    async with api(tmp_path, tasks={"node_timeout": 0.4}) as (running, client):
        workers = running.service.workers
        gone: list[tuple[str, str]] = []
        room: list[str] = []
        workers.on_lost.append(lambda worker, reason: gone.append((worker, reason)))
        workers.on_room.append(room.append)
        await registered(client)
        await running.until(lambda: not workers.get("n").active)
        assert gone == [("n", "missed heartbeats")]
        assert (await node(client))["status"] == "offline"
        assert (await node(client))["uptime"] == 0
        await client.post("/nodes/n/heartbeat", json={})
        assert workers.get("n").active
        assert room == ["n", "n"]
        await client.put("/nodes/n/status", json={"status": "maintenance"})
        await running.until(lambda: workers.get("n").status == "offline")
        await client.post("/nodes/n/heartbeat", json={"status": "active"})
        assert workers.get("n").status == "maintenance"


async def test_a_restart_forgets_nothing_and_loses_nobody(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        await registered(client, "n", labels={"zone": "a"}, agents=[{"agent_id": "a"}])
        await registered(client, "m")
        await registered(client, "gone")
        await client.put("/nodes/m/status", json={"status": "maintenance"})
        await client.post("/nodes/n/heartbeat", json={"cpu_usage": 12})
        await client.delete("/nodes/gone")
        for ok in (True, True, False):
            running.service.workers.finished("n", ok, 2.0)
        running.service.workers.measured("n", 7.5)
        before = await node(client)
        assert (before["tasks_completed"], before["tasks_failed"], before["network_latency"]) == (2, 1, 7.5)
        assert before["average_task_time"] == 2.0
        assert 0.89 < before["reliability_score"] < 0.91
    async with api(tmp_path, tasks={"node_timeout": 60}) as (running, client):
        after = await node(client)
        for changing in ("uptime",):
            del before[changing], after[changing]
        assert after == before
        assert (await node(client, "m"))["status"] == "maintenance"
        assert running.service.workers.all().keys() == {"m", "n"}
        await registered(client, "n")
        again = await node(client)
        assert (again["tasks_completed"], again["registered_at"]) == (2, before["registered_at"])


async def test_model_servers_are_nodes_too(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        api(tmp_path, nodes=[{"id": "gpu", "url": server.url}]) as (running, client),
    ):
        await running.healthy(1)
        await registered(client)
        body = (await client.get("/nodes")).json()
        assert (body["total_nodes"], body["active_nodes"]) == (2, 2)
        shown = body["nodes"]["gpu"]
        assert shown.keys() >= LIST_FIELDS
        assert (shown["node_type"], shown["capabilities"][0], shown["agents_count"]) == ("ollama", "inference", 0)
        assert (await node(client, "gpu"))["metadata"]["models"] == ["llama3:latest"]
        for method, path in (
            ("POST", "/nodes/gpu/register"),
            ("POST", "/nodes/gpu/heartbeat"),
            ("POST", "/nodes/gpu/drain"),
            ("PUT", "/nodes/gpu/status"),
            ("DELETE", "/nodes/gpu"),
        ):
            answer = await client.request(method, path, json=GUIDE | {"status": "active"})
            refused(answer, 409, "CONFLICT", "model server")


async def test_a_model_server_cannot_take_the_name_of_a_worker(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        await registered(client)
        body = {"id": "n", "url": "http://127.0.0.1:9", "kind": "ollama"}
        answer = await client.post(f"{running.url}/api/orchestrator/servers/add", json=body)
    assert answer.status_code == 409


async def test_keys_of_nodes(tmp_path: Path) -> None:
    names = [*(role.value for role in Role), "other"]
    keys = [{"name": one, "key": f"key-{one}-0123456789", "role": "node" if one == "other" else one} for one in names]
    heads = {one: {"Authorization": f"Bearer key-{one}-0123456789"} for one in names}
    async with api(tmp_path, auth={"enabled": True, "keys": keys}) as (_, client):
        there = "/nodes/n/register"
        refused(await client.post(there, json=GUIDE), 401, "AUTHENTICATION_FAILED", "Authentication required")
        refused(await client.post(there, json=GUIDE, headers=heads["viewer"]), 403, "FORBIDDEN", "nodes.report")
        assert (await client.post(there, json=GUIDE, headers=heads["node"])).status_code == 200
        assert (await client.post("/nodes/n/heartbeat", headers=heads["node"])).status_code == 200
        for path in (there, "/nodes/n/heartbeat"):
            refused(await client.post(path, json=GUIDE, headers=heads["other"]), 403, "FORBIDDEN", "another key")
            assert (await client.post(path, json=GUIDE, headers=heads["operator"])).status_code == 200
        assert (await client.post("/nodes/n/heartbeat", headers=heads["node"])).status_code == 200
        assert (await client.post("/nodes/m/register", json=GUIDE, headers=heads["operator"])).status_code == 200
        for name, status in (("other", 200), ("node", 403)):
            answer = await client.post("/nodes/m/register", json=GUIDE, headers=heads[name])
            assert answer.status_code == status, name
        for path in ("/nodes", "/nodes/n", "/agents"):
            assert (await client.get(path, headers=heads["node"])).status_code == 403
            assert (await client.get(path, headers=heads["viewer"])).status_code == 200
        for method, path in (("PUT", "/nodes/n/status"), ("POST", "/nodes/n/drain"), ("DELETE", "/nodes/n")):
            assert (await client.request(method, path, json={}, headers=heads["node"])).status_code == 403
        assert (await client.delete("/nodes/n", headers=heads["operator"])).status_code == 200


async def test_the_operator_says_which_hosts_get_tasks(tmp_path: Path) -> None:
    allowed = ["10.0.0.0/8", "*.workers.example", "gpu"]
    async with api(tmp_path, tasks={"worker_hosts": allowed, "max_nodes": 3}) as (_, client):
        for number, host in enumerate(("10.1.2.3", "a.workers.example", "gpu")):
            assert (await client.post(f"/nodes/n{number}/register", json={"host": host})).status_code == 200, host
        for host in ("localhost", "192.168.0.1", "workers.example", "evilworkers.example", "gpu.evil.example"):
            answer = await client.post("/nodes/n1/register", json={"host": host})
            assert refused(answer, 400, "INVALID_REQUEST", "worker_hosts")["field"] == "host"
        behind = {"host": "192.168.0.1", "mode": "pull"}
        assert (await client.post("/nodes/n1/register", json=behind)).status_code == 200
        refused(await client.post("/nodes/n9/register", json={"host": "gpu"}), 409, "CONFLICT", "max_nodes")


@pytest.mark.parametrize("origins", [[], ["*"]])
async def test_browsers_are_answered_where_any_origin_may_call(tmp_path: Path, origins: list[str]) -> None:
    async with api(tmp_path, server={"cors_origins": origins}) as (running, client):
        listed = await client.get("/nodes")
        asked = await client.options("/nodes/n/register")
        elsewhere = await client.get(running.url + "/health")
    assert (listed.headers.get("access-control-allow-origin") == "*") is bool(origins)
    assert asked.status_code == (200 if origins else 405)
    assert asked.content == b"" or not origins
    assert "access-control-allow-origin" not in elsewhere.headers


async def test_names_are_data(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await registered(client, location="<script>alert(1)</script>", metadata={"x": "'; DROP TABLE workers"})
        answer = await client.get("/nodes/n")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.content)["node"]["location"] == "<script>alert(1)</script>"
