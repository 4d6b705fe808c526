"""Demo nodes: there when there is nothing else, honest about it, gone when there is something."""

from __future__ import annotations

from pathlib import Path

import httpx2

from orchestrator.domain.node import NodeKind
from orchestrator.testing.model_server import ModelServer
from service import running_service

DEMO = {"demo": {"enabled": True}}
HONEST = "no model is running"


async def test_an_empty_fleet_gets_two_demo_nodes_that_are_ready_at_once(
    tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    async with running_service(DEMO, tmp_path) as running:
        assert [node.spec.kind for node in running.service.fleet.nodes.values()] == [NodeKind.DEMO] * 2
        assert (await http.get(f"{running.url}/health/ready")).json() == {"status": "ready", "healthyServers": 2}
        tags = (await http.get(f"{running.url}/api/tags")).json()["models"]
        assert [row["name"] for row in tags] == ["demo-embed:latest", "demo:latest"]


async def test_they_say_in_every_dialect_that_no_model_runs(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    hello = {"model": "demo", "messages": [{"role": "user", "content": "please think"}], "stream": False}
    async with running_service(DEMO, tmp_path) as running:
        openai = (await http.post(f"{running.url}/v1/chat/completions", json=hello)).json()
        ollama = (await http.post(f"{running.url}/api/chat", json=hello)).json()
        anthropic = (await http.post(f"{running.url}/v1/messages", json={**hello, "max_tokens": 100})).json()
        embedded = (await http.post(f"{running.url}/api/embed", json={"model": "demo-embed", "input": "x"})).json()
        refused = await http.post(f"{running.url}/v1/chat/completions", json={**hello, "model": "demo-embed"})

    assert HONEST in openai["choices"][0]["message"]["content"]
    assert HONEST in ollama["message"]["content"]
    assert HONEST in anthropic["content"][0]["text"]
    assert embedded["embeddings"][0]
    assert refused.status_code == 400


async def test_nobody_can_make_them_fail(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with running_service(DEMO, tmp_path) as running:
        node = running.service.fleet.nodes["demo-1"]
        answer = await http.get(f"{node.spec.url}/_control/state")
    assert answer.status_code == 404


async def test_there_are_none_beside_a_registered_node(tmp_path: Path) -> None:
    async with (
        ModelServer() as server,
        running_service({**DEMO, "nodes": [{"id": "real", "url": server.url}]}, tmp_path) as running,
    ):
        assert set(running.service.fleet.nodes) == {"real"}


async def test_removed_ones_do_not_come_back(tmp_path: Path) -> None:
    async with running_service(DEMO, tmp_path) as running:
        await running.service.registry.unregister("demo-1")
    async with running_service(DEMO, tmp_path) as running:
        assert set(running.service.fleet.nodes) == {"demo-2"}
