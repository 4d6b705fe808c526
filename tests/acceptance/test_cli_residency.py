"""The commands about models in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def fleet(tmp_path: Path) -> AsyncIterator[tuple[RunningService, ModelServer]]:
    async with ModelServer(["llama3", "org/other:7b"], load_delay_ms=100.0) as server:
        config: dict[str, Any] = {"nodes": [{"id": "a", "url": server.url}]}
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            yield running, server


async def test_warm_status_idle_unload(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, server):
        run = command.at(running.url)
        warmed = await run("models", "warm", "org/other:7b", "--on", "a", "--wait")
        assert warmed.status == 0, warmed.err
        assert warmed.rows[0]["state"] == "loaded"
        assert server.loaded == ["org/other:7b"]
        states = {row["model"]: row["state"] for row in (await run("models", "status")).rows}
        assert states == {"llama3:latest": "not in memory", "org/other:7b": "in memory"}
        one = (await run("models", "status", "org/other:7b", "--json")).json
        assert one["status"]["loadedOn"] == 1
        assert "No model has been idle" in (await run("models", "idle")).err
        async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
            body = {"model": "org/other:7b", "prompt": "hi", "stream": False}
            assert (await client.post("/api/generate", json=body)).status_code == 200
        idle = await run("models", "idle", "--threshold", "1ms")
        assert [(row["model"], row["node"]) for row in idle.rows] == [("org/other:7b", "a")]
        unloaded = await run("models", "unload", "org/other:7b")
        assert "Unloaded org/other:7b from a." in unloaded.err
        assert server.loaded == []
        assert (await run("models", "unload", "org/other:7b")).status == 1


async def test_a_load_that_fails_fails_the_command(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, server):
        run = command.at(running.url)
        server.mode("status", status=500, message="out of memory")
        failed = await run("models", "warm", "llama3", "--wait")
        assert failed.status == 1
        assert failed.rows[0]["state"] == "failed"
        assert (await run("models", "warm", "nothing")).status == 1
