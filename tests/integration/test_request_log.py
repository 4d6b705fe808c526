"""What a running service writes down of its requests and of its fleet, and what it never writes down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.domain.node import AdminState
from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

CANARY = "canary-0123456789-abcdef"
PROMPT = "the prompt that nobody may read in a log"


def entries(file: Path, event: str = "") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [line for line in lines if not event or line["event"] == event]


async def logged(file: Path, event: str, count: int = 1) -> list[dict[str, Any]]:
    """Waits for the log's own thread."""
    async with asyncio.timeout(5):
        while len(found := entries(file, event)) < count:  # noqa: ASYNC110 - a file announces nothing
            await asyncio.sleep(0.01)
    return found


async def ask(running: RunningService, model: str = "demo", **headers: str) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    async with httpx2.AsyncClient(base_url=running.url, headers=headers) as client:
        return await client.post("/v1/chat/completions", json=body)


async def test_one_line_for_every_request(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "service.log"
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with ModelServer(tokens=7) as node:
        config = {
            "nodes": [{"id": "a", "url": node.url, "kind": "openai"}],
            "logging": {"requests": True, "file": str(file), "level": "info"},
        }
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            await ask(running, traceparent=f"00-{trace}-b7ad6b7169203331-01")
            await ask(running, model="nonesuch")
            found = await logged(file, "request", 2)

    good, bad = found
    assert good["logger"] == "orchestrator.request"
    assert (good["endpoint"], good["model"], good["node"]) == ("openai_chat", "demo", "a")
    assert (good["status"], good["outcome"], good["completion_tokens"]) == (200, "ok", 7)
    assert 0 < good["ttft"] <= good["duration"] < 5
    assert good["trace_id"] == trace
    assert "attempts" not in good
    assert (bad["status"], bad["outcome"], bad["error"], bad["node"]) == (404, "error", "model_not_found", "")
    assert [line["event"] for line in entries(file)].count("request") == 2
    assert PROMPT not in file.read_text()


async def test_attempts_are_told_when_one_failed(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    async with ModelServer() as node:
        config = {
            "nodes": [{"id": "a", "url": node.url, "kind": "openai"}],
            "logging": {"requests": True, "file": str(file)},
            "retry": {"max_attempts": 1},
        }
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            node.mode("status", status=503)
            await ask(running)
            (line,) = await logged(file, "request")

    (attempt,) = line["attempts"]
    assert (attempt["node"], attempt["status"], attempt["kind"]) == ("a", 503, "status")
    assert attempt["ms"] > 0


async def test_the_switch_works_while_the_service_runs(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    async with ModelServer() as node:
        config = {
            "nodes": [{"id": "a", "url": node.url, "kind": "openai"}],
            "logging": {"requests": False, "file": str(file), "level": "info"},
        }
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            await ask(running, **{"x-request-id": "before"})
            await asyncio.sleep(0.15)  # older than a batch may get, so that it was decided on
            await running.service.configuration.change({"logging": {"requests": True}}, who="operator")
            await ask(running, **{"x-request-id": "after"})
            (line,) = await logged(file, "request")
            (change,) = entries(file, "setting_changed")

    assert line["id"] == "after"
    assert (change["setting"], change["old"], change["new"], change["who"]) == (
        "logging.requests", False, True, "operator"
    )  # fmt: skip


async def test_events_of_the_fleet(tmp_path: Path) -> None:
    file = tmp_path / "service.log"
    async with ModelServer() as node:
        config = {
            "nodes": [{"id": "a", "url": node.url, "kind": "openai"}],
            "logging": {"file": str(file), "level": "info"},
            "retry": {"max_attempts": 1},
        }
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            node.mode("status", status=500)
            for _ in range(10):
                await ask(running)
            await running.service.registry.set_state("a", AdminState.DRAINING, "new disk")
            await node.kill()
            await logged(file, "node_down")
    found = {line["event"]: line for line in entries(file)}

    assert (found["service_started"]["nodes"], found["node_up"]["node"], found["node_down"]["node"]) == (1, "a", "a")
    assert {"service_stopping", "service_stopped"} <= found.keys()
    assert (found["node_state_changed"]["state"], found["node_state_changed"]["reason"]) == ("draining", "new disk")
    opened = [line for line in entries(file, "breaker_changed") if line["state"] == "open"]
    assert opened
    assert opened[0]["level"] == "warning"
    assert opened[0]["reason"]


async def test_no_secret_and_no_prompt_reaches_a_log(tmp_path: Path, capfd: Any) -> None:
    """With everything logged that can be, and every way in which a key comes near the code used once."""
    file = tmp_path / "service.log"
    node_key, client_key, header = f"node-{CANARY}", f"client-{CANARY}", f"collector-{CANARY}"
    async with ModelServer(required_key="another-key") as node:
        config = {
            "nodes": [{"id": "a", "url": node.url, "kind": "openai", "api_key": node_key}],
            "logging": {"requests": True, "file": str(file), "level": "debug", "format": "console"},
            "auth": {"enabled": True, "keys": [{"name": "app", "key": client_key, "role": "admin"}]},
            "tracing": {"headers": {"x-key": header}},
        }
        async with running_service(config, tmp_path) as running:
            registered = {"id": "b", "url": "http://127.0.0.1:1", "apiKey": f"second-{CANARY}"}
            async with httpx2.AsyncClient(base_url=running.url) as client:
                bearer = {"authorization": f"Bearer {client_key}"}
                await client.post("/api/orchestrator/servers/add", json=registered, headers=bearer)
                await client.get(f"/api/orchestrator/servers?apiKey={client_key}")
                await client.get("/api/orchestrator/servers", headers={"x-api-key": f"wrong-{CANARY}"})
            await ask(running, authorization=f"Bearer {client_key}")
            await ask(running, model=f"sk-{CANARY}", authorization=f"Bearer {client_key}")
            await logged(file, "request", 2)
            kept = json.dumps(list(running.service.log_entries))
    output = "".join(capfd.readouterr())

    for text in (file.read_text(), output, kept):
        assert CANARY not in text
        assert PROMPT not in text
    assert "service_started" in kept
    assert "request" in file.read_text()
