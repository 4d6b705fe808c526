"""`orchestrator requests` and `orchestrator analytics` against a running service."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from admin_api import prompt
from cli_command import CommandLine

from orchestrator.testing.model_server import ModelServer
from service import running_service


async def test_the_history_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        config = {"nodes": [{"id": "a", "url": server.url}]}
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
                answer = await client.post("/api/generate", json=prompt())
                await client.post("/api/generate", json=prompt("nothing"))
            run = CommandLine(capsys).at(running.url)
            listed = json.loads((await run("requests", "list", "--json")).out)
            assert listed["count"] == 2
            failed = json.loads((await run("requests", "list", "--failed", "--json")).out)
            assert [one["errorType"] for one in failed["requests"]] == ["model_not_found"]
            shown = json.loads((await run("requests", "get", answer.headers["x-request-id"], "--json")).out)
            assert (shown["serverId"], shown["model"]) == ("a", "llama3:latest")
            assert (await run("requests", "get", "nobody")).status == 1
            file = tmp_path / "requests.csv"
            assert (await run("requests", "export", "--to", str(file))).status == 0
            assert len(file.read_text().splitlines()) == 3
            told = json.loads((await run("analytics", "summary", "--json")).out)
            assert told["summary"]["totalRequests"] == 2
            assert "requests" in (await run("analytics", "summary")).out
