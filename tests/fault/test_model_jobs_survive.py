"""A pull belongs to the fleet: it goes on when its client leaves, when its node breaks, and when the service dies."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.services.models.jobs import HELD
from orchestrator.testing.model_server import ModelServer
from service import spawned_service

ADMIN = "/api/orchestrator"
PULL = "/api/pull"
LINES = 6.0  # progress lines per second: a pull of the fake has six, and then says that it is done


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url + ADMIN, timeout=20, trust_env=False) as api:
        yield api


async def ended(api: httpx2.AsyncClient, job_id: str, timeout: float = 20.0) -> dict[str, Any]:
    async with asyncio.timeout(timeout):
        while True:
            job: dict[str, Any] = (await api.get(f"/models/jobs/{job_id}")).json()["job"]
            if job["endedAt"] is not None:
                return job
            await asyncio.sleep(0.05)


def pulls(node: ModelServer) -> int:
    return sum(one.path == PULL for one in node.requests)


async def in_mid_pull(api: httpx2.AsyncClient, node: ModelServer) -> str:
    """Begins a pull when a server can take it, and leaves it when the first bytes have come; the job's id."""
    async with asyncio.timeout(20):
        while not (await api.get("/stats")).json()["stats"]["healthyServers"]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    async with api.stream("POST", "/models/pull", json={"model": "llama3", "stream": True}) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            event = json.loads(line.removeprefix("data: ") or "{}")
            if event.get("completed"):
                break
    async with asyncio.timeout(5):  # what is to be found after a kill has been written down
        while True:
            found: dict[str, Any] = (await api.get("/models/jobs")).json()["jobs"][0]
            if found["completed"]:
                return str(found["id"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
async def test_a_pull_is_taken_up_by_the_next_start(how: signal.Signals, database_url: str, tmp_path: Path) -> None:
    async with ModelServer(["other"]) as node:
        node.mode(path=PULL, kind="ok", tokens_per_second=LINES)
        config = {"nodes": [{"id": "a", "url": node.url, "kind": "ollama"}]}
        arguments = ("--database-url", database_url)
        with spawned_service(config, tmp_path, arguments=arguments) as service:
            async with client(service.url) as api:
                job_id = await in_mid_pull(api, node)
                service.process.send_signal(how)
                assert await asyncio.to_thread(service.process.wait, 20) == (0 if how == signal.SIGTERM else -how)
        died = time.monotonic()
        await node.wait_for(lambda seen: seen.in_flight == 0, timeout=5)
        assert pulls(node) == 1

        with spawned_service(config, tmp_path, arguments=arguments) as service:
            up = time.monotonic()
            await node.wait_for(lambda seen: pulls(seen) == 2, timeout=20)
            resumed = time.monotonic()
            # A process that could say so has let go of its jobs; of one that could not they are free after a while.
            free = died if how == signal.SIGTERM else died + HELD
            assert resumed < max(up, free) + 5
            async with client(service.url) as api:
                job = await ended(api, job_id)
                listed = (await api.get("/models/jobs")).json()
        assert (job["status"], job["tries"], job["error"]) == ("succeeded", 2, None)
        assert listed["total"] == 1
        assert pulls(node) == 2
