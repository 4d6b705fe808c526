"""`/api/pull` and `/api/delete` as Ollama's clients use them: jobs of the fleet, where `pull_enabled` allows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import ollama
import pytest

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

PULL = "/api/pull"


@dataclass
class Fleet:
    running: RunningService
    http: httpx2.AsyncClient
    a: ModelServer
    b: ModelServer

    async def pull(self, path: str = PULL, **body: Any) -> tuple[httpx2.Response, list[dict[str, Any]]]:
        answer = await self.http.post(path, json=body)
        return answer, [json.loads(line) for line in answer.text.splitlines()]

    def pulls(self) -> tuple[int, int]:
        first, second = (sum(one.path == PULL for one in node.requests) for node in (self.a, self.b))
        return first, second


@asynccontextmanager
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with ModelServer(["llama3", "both"]) as a, ModelServer(["both"]) as b:
        nodes: list[dict[str, Any]] = [
            {"id": name, "url": node.url, "kind": "ollama"} for name, node in (("a", a), ("b", b))
        ]
        nodes[1]["labels"] = {"disk_gb": "500"}
        async with (
            running_service({"nodes": nodes, "models": {"pull_enabled": True}}, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=20) as http,
        ):
            await running.healthy(2)
            yield Fleet(running, http, a, b)


async def test_a_pull_without_a_server_is_placed(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        tried.b.mode(path=PULL, kind="ok", tokens_per_second=30)
        answer, lines = await tried.pull(name="Llama3 / New")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        assert lines[-1] == {"status": "success"}
        assert {"status": "verifying sha256 digest"} in lines
        layers = [line for line in lines if "digest" in line]
        assert len(layers) >= 3
        assert all(set(line) == {"status", "digest", "total", "completed"} for line in layers)
        assert all(line["status"].startswith("pulling ") and line["completed"] <= line["total"] for line in layers)
        assert tried.pulls() == (0, 1)
        assert tried.running.service.fleet.catalogue.by_model()["llama3/new:latest"] == ["b"]


async def test_a_pull_to_the_server_that_is_named_that_waits(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        answer, _ = await tried.pull(f"{PULL}?server=a", model="new", stream=False)
        assert (answer.status_code, answer.json()) == (200, {"status": "success"})
        named = await tried.http.post(PULL, json={"model": "new2", "stream": False}, headers={"X-Server-Id": "a"})
        assert named.status_code == 200
        assert tried.pulls() == (2, 0)


async def test_errors_are_ollamas(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        for node in (tried.a, tried.b):
            node.mode("error_body_200", message="pull model manifest: file does not exist", path=PULL)
        answer, lines = await tried.pull(model="none")
        assert answer.status_code == 200
        assert lines[-1] == {"error": "pull model manifest: file does not exist"}
        answer, _ = await tried.pull(model="none", stream=False)
        assert answer.status_code == 502
        assert answer.json()["error"] == "pull model manifest: file does not exist"
        for body, status in (({}, 400), ({"model": 1}, 400), ({"model": "a b\0"}, 400)):
            assert (await tried.http.post(PULL, json=body)).status_code == status
        assert (await tried.http.post(f"{PULL}?server=none", json={"model": "x"})).status_code == 404
        assert (await tried.http.post(PULL, content=b"{")).status_code == 400


async def test_a_pull_survives_its_client_and_its_node(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        tried.b.mode(path=PULL, kind="ok", tokens_per_second=10)
        tried.b.mode("cut", after=3, path=PULL, times=1, tokens_per_second=10)
        async with tried.http.stream("POST", PULL, json={"model": "new"}) as answer:
            job_id = answer.headers["x-model-job"]
            async for line in answer.aiter_lines():
                if "completed" in line:
                    break
        jobs = tried.running.service.model_jobs
        async with asyncio.timeout(15):
            async for job in jobs.follow(job_id):
                last = job
        assert (last.status, last.tries, last.node) == ("succeeded", 2, "b")


async def test_ollamas_own_client(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried, ollama.AsyncClient(host=tried.running.url) as client:
        tried.b.mode(path=PULL, kind="ok", tokens_per_second=30)
        parts = [part async for part in await client.pull("fresh", stream=True)]
        assert parts[-1].status == "success"
        assert any(part.digest and part.total and part.completed for part in parts)
        assert (await client.pull("fresher")).status == "success"
        assert {one.model for one in (await client.list()).models} >= {"fresh:latest", "fresher:latest"}
        assert (await client.delete("fresh")).status == "success"
        assert "fresh:latest" not in {one.model for one in (await client.list()).models}
        with pytest.raises(ollama.ResponseError) as missing:
            await client.delete("fresh")
        assert missing.value.status_code == 404
        tried.b.mode("error_body_200", message="pull model manifest: file does not exist", path=PULL)
        with pytest.raises(ollama.ResponseError, match="does not exist"):
            _ = [part async for part in await client.pull("none", stream=True)]


async def test_delete_without_a_server_deletes_everywhere(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        gone = await tried.http.request("DELETE", "/api/delete", json={"model": "Both:latest"})
        assert gone.status_code == 200, gone.text
        assert gone.json()["servers"] == ["a", "b"]
        assert tried.running.service.fleet.catalogue.names() == ["llama3:latest"]
        again = await tried.http.request("DELETE", "/api/delete", json={"model": "both"})
        assert again.status_code == 404
        assert "not found" in again.json()["error"]


async def test_delete_says_who_would_not(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        tried.a.mode("status", status=500, message="file is locked", path="/api/delete")
        half = await tried.http.request("DELETE", "/api/delete", json={"model": "both"})
        assert half.status_code == 502
        assert half.json()["servers"] == ["b"]
        assert "file is locked" in half.json()["failed"]["a"]
        named = await tried.http.request("DELETE", "/api/delete?server=a", json={"model": "both"})
        assert named.status_code == 500  # the server's own answer
