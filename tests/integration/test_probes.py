"""Probes: what they see, that they load nothing, and that the first ones are done when the service listens."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest

from orchestrator.domain.node import Dialect
from orchestrator.testing.model_server import ModelServer
from service import running_service

PROBES = {"/api/tags", "/api/ps", "/api/version", "/api/show", "/v1/models", "/health"}


@pytest.mark.parametrize("kind", ["ollama", "openai", "anthropic"])
async def test_every_kind_is_known_when_the_service_listens(kind: str, tmp_path: Path) -> None:
    async with ModelServer(["llama3"], dialects=[kind], version="0.15.2") as server:
        config = {"nodes": [{"id": "n", "url": server.url, "kind": kind}], "health_check": {"interval": 60}}
        async with running_service(config, tmp_path) as running:
            node = running.service.fleet.nodes["n"]
            assert node.healthy
            assert Dialect(kind) in node.dialects
            assert running.service.fleet.resolve("llama3").name in ("llama3", "llama3:latest")
            assert node.report is not None
            assert node.report.version == ("0.15.2" if kind == "ollama" else node.report.version)


async def test_many_probes_load_no_model(tmp_path: Path) -> None:
    async with ModelServer(["llama3", "qwen3"]) as server:
        nodes = [{"id": kind, "url": f"{server.url}/", "kind": kind} for kind in ("ollama",)]
        config = {"nodes": nodes, "health_check": {"interval": 0.1}}
        async with running_service(config, tmp_path):
            await server.wait_for(lambda one: len(one.requests) > 50, timeout=20)
        assert server.loaded == []
        assert {request.path for request in server.requests} <= PROBES


async def test_what_is_in_memory_is_seen_by_the_next_probe(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        running_service({"nodes": [{"id": "n", "url": server.url}]}, tmp_path) as running,
    ):
        node = running.service.fleet.nodes["n"]
        body = {"model": "llama3", "prompt": "x", "stream": False}
        assert (await http.post(f"{running.url}/api/generate", json=body)).status_code == 200
        await running.until(lambda: node.report is not None and bool(node.report.loaded))
        assert node.report is not None
        assert node.report.loaded is not None
        assert node.report.loaded[0].name == "llama3:latest"
        assert "llama3:latest" in node.state.loaded


@pytest.mark.parametrize("answer", [b"{}", b"not json", b'{"models": 5}'])
async def test_a_server_that_answers_nonsense_is_down_and_says_why(answer: bytes, tmp_path: Path) -> None:
    async with ModelServer() as server:
        server.mode("status", path="/api/tags", status=200, body=answer.decode())
        async with running_service({"nodes": [{"id": "n", "url": server.url}]}, tmp_path) as running:
            node = running.service.fleet.nodes["n"]
            assert node.probed_at > 0
            assert not node.healthy
            assert node.error


async def test_one_failed_probe_is_no_outage_and_a_few_are(tmp_path: Path) -> None:
    async with ModelServer() as server:
        rules = {"interval": 0.1, "recovery_interval": 0.1, "failure_threshold": 3}
        config = {"nodes": [{"id": "n", "url": server.url}], "health_check": rules}
        async with running_service(config, tmp_path) as running:
            node = running.service.fleet.nodes["n"]
            server.mode("status", path="/api/tags", times=1)
            await running.until(lambda: node.failures == 1)
            assert node.healthy
            await running.until(lambda: node.failures == 0)
            assert node.healthy
            server.mode("status", path="/api/tags", times=3)
            await running.until(lambda: not node.healthy)
            await running.until(lambda: node.healthy)


async def test_a_node_that_hangs_holds_a_start_for_two_seconds(tmp_path: Path) -> None:
    async with ModelServer() as slow, ModelServer() as fast:
        slow.mode("hang", routes="health")
        nodes = [{"id": "slow", "url": slow.url}, {"id": "fast", "url": fast.url}]
        begun = time.monotonic()
        async with running_service({"nodes": nodes}, tmp_path) as running:
            assert time.monotonic() - begun < 5
            healthy = {node.id: node.healthy for node in running.service.fleet.nodes.values()}
            assert healthy == {"slow": False, "fast": True}
            slow.mode(routes="health")
            slow.release()
            await running.healthy(2)
