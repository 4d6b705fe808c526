"""SIGTERM: readiness goes off at once, streams finish within the grace time, those that do not end with one error, and
the process exits with 0."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.testing.model_server import ModelServer
from service import SpawnedService, spawned_service

STREAMS = 20


@asynccontextmanager
async def spawned(tmp_path: Path, node: ModelServer, plane: str, grace: float) -> AsyncIterator[SpawnedService]:
    config = {
        "nodes": [{"id": "a", "url": node.url, "kind": "openai", "max_concurrency": 100}],
        "server": {"grace": grace, "data_plane": plane},
    }
    entered = spawned_service(config, tmp_path, healthy=1)
    service = await asyncio.to_thread(entered.__enter__)
    try:
        yield service
    finally:
        await asyncio.to_thread(entered.__exit__, None, None, None)


async def stream(client: httpx2.AsyncClient, url: str) -> list[str]:
    """The `data:` lines of one streamed chat."""
    body = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "say 10 words"}]}
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        return [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]


async def ready(url: str) -> bool:
    """What a load balancer sees: 200, or 503 and then a closed port."""
    async with httpx2.AsyncClient(timeout=5) as client:
        try:
            return (await client.get(f"{url}/health/ready")).status_code == 200
        except httpx2.HTTPError:
            return False


async def ended(service: SpawnedService) -> int:
    return await asyncio.to_thread(service.process.wait, 20)


def content(lines: list[str]) -> str:
    parts: list[Any] = [json.loads(line) for line in lines if line != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for part in parts for choice in part.get("choices", []))


@pytest.mark.parametrize("plane", ["protocol", "asgi"])
async def test_streams_finish_and_nobody_new_comes_in(plane: str, tmp_path: Path) -> None:
    async with (
        ModelServer(models=["demo"], dialects=("openai",)) as node,
        spawned(tmp_path, node, plane, grace=20) as service,
        httpx2.AsyncClient(timeout=30) as client,
    ):
        node.mode("hang_mid", after=3)
        streams = [asyncio.create_task(stream(client, service.url)) for _ in range(STREAMS)]
        await node.wait_for(lambda seen: seen.hanging == STREAMS)
        assert await ready(service.url)

        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(1):
            while await ready(service.url):
                continue
        assert service.process.poll() is None  # the streams are still open
        node.release()

        for lines in await asyncio.gather(*streams):
            assert lines[-1] == "[DONE]"
            assert len(content(lines).split()) == 10
        assert await ended(service) == 0


@pytest.mark.parametrize("plane", ["protocol", "asgi"])
async def test_a_stream_that_outlasts_the_grace_ends_with_one_error(plane: str, tmp_path: Path) -> None:
    async with (
        ModelServer(models=["demo"], dialects=("openai",)) as node,
        spawned(tmp_path, node, plane, grace=2) as service,
        httpx2.AsyncClient(timeout=30) as client,
    ):
        node.mode("hang_mid", after=3)
        hanging = asyncio.create_task(stream(client, service.url))
        await node.wait_for(lambda seen: seen.hanging == 1)

        service.process.send_signal(signal.SIGTERM)
        lines = await hanging

        assert "[DONE]" not in lines
        assert [line for line in lines if "error" in json.loads(line)] == [lines[-1]]
        assert "shutting down" in json.loads(lines[-1])["error"]["message"]
        assert await ended(service) == 0
