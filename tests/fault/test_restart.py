"""kill -9 and start again: no node, ban, breaker, alias or setting is lost, on either database."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2

from fleet_under_test import OPENAI
from orchestrator.storage import open_storage
from orchestrator.testing.model_server import ModelServer
from service import spawned_service

ADMIN = "/api/orchestrator"


async def healthy(client: httpx2.AsyncClient, count: int) -> None:
    async with asyncio.timeout(20):
        while (await client.get("/health")).json()["orchestrator"]["healthyServers"] < count:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


async def told(client: httpx2.AsyncClient, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.request(method, ADMIN + path, json=body or None)
    assert answer.status_code == 200, (path, answer.text)
    found: dict[str, Any] = answer.json()
    return found


async def state(client: httpx2.AsyncClient) -> dict[str, Any]:
    """What an operator has said, and what traffic has taught, as the service shows it."""
    servers = (await told(client, "GET", "/servers"))["servers"]
    bans = (await told(client, "GET", "/bans"))["bans"]
    aliases = (await told(client, "GET", "/aliases"))["aliases"]
    breakers = [
        (await told(client, "GET", f"/circuit-breakers/{key}"))["stats"] for key in ("a/demo", "b/demo", "c/demo")
    ]
    return {
        "servers": sorted((one["id"], one["url"], one["maxConcurrency"]) for one in servers),
        "admin": sorted((one["id"], str(one.get("maintenance")), str(one.get("draining"))) for one in servers),
        "bans": sorted((one["key"], one["type"], one["reason"]) for one in bans if one["type"] != "cooldown"),
        "aliases": sorted((one["name"], str(one["targets"])) for one in aliases),
        "breakers": [one["state"] for one in breakers],
        "config": (await told(client, "GET", "/config"))["config"]["queue"],
    }


async def test_a_killed_process_comes_back_as_it_was(database_url: str, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    nodes = {name: ModelServer() for name in names}
    arguments = ("--database-url", database_url)
    config = {"security": {"admin_rate_limit_max": None}, "circuit_breaker": {"open_time": 300}}
    for node in nodes.values():
        await node.start()
    try:
        with spawned_service(config, tmp_path, arguments=arguments) as service:
            async with httpx2.AsyncClient(base_url=service.url, timeout=20, trust_env=False) as client:
                for count, (name, node) in enumerate(nodes.items(), 1):
                    await told(client, "POST", "/servers/add", id=name, url=node.url, maxConcurrency=count, type="demo")
                await healthy(client, 4)
                await told(client, "POST", "/bans", server_id="d", model="demo", reason="slow")
                await told(client, "POST", "/circuit-breakers/b/demo/open")
                await told(client, "PUT", "/aliases/gpt-4o", targets=["demo", "other"])
                await told(client, "PATCH", "/config/queue", maxSize=77)
                assert (await told(client, "GET", "/config"))["config"]["queue"]["maxSize"] == 77
                await told(client, "POST", "/servers/c/maintenance", enabled=True, reason="new disk")
                nodes["a"].mode("status", status=500)
                for _ in range(12):
                    await client.post(OPENAI.path, json=OPENAI.body(stream=False))
                before = await state(client)
                assert before["breakers"][:2] == ["open", "open"]
                assert len(before["servers"]) == 4
                await written(database_url, "a")
            service.kill()

        started = time.monotonic()
        with spawned_service(config, tmp_path, arguments=arguments) as service:
            assert time.monotonic() - started < 20
            async with httpx2.AsyncClient(base_url=service.url, timeout=20, trust_env=False) as client:
                await healthy(client, 4)
                assert await state(client) == before

                # And it is obeyed, not just shown: a and b are open, c is in maintenance, d is banned.
                answer = await client.post(OPENAI.path, json=OPENAI.body(stream=False, model="gpt-4o"))
                assert answer.status_code == 503
                assert "retry-after" in answer.headers
                nodes["a"].mode()
                await told(client, "POST", "/circuit-breakers/b/demo/close")
                answer = await client.post(OPENAI.path, json=OPENAI.body(stream=False, model="gpt-4o"))
                assert (answer.status_code, answer.headers["x-selected-server"]) == (200, "b")
    finally:
        for node in nodes.values():
            await node.kill()


async def written(database_url: str, node: str) -> None:
    """Until the breaker that traffic opened is in the database: a loop writes those, not the request."""
    async with open_storage(database_url) as storage, asyncio.timeout(15):
        states: dict[str, str] = {}
        while states.get(f"{node}:demo:latest") != "open":
            await asyncio.sleep(0.1)
            states = {key: record.state for key, record in (await storage.breakers.load()).items()}


async def test_a_killed_process_leaves_its_clients_no_good_end(tmp_path: Path) -> None:
    """The process itself dies under its streams: what the clients have is cut off, never ended."""
    async with ModelServer() as node:
        node.mode(tokens=400, tokens_per_second=100.0)
        config = {"nodes": [{"id": "a", "url": node.url, "kind": "demo"}]}
        with spawned_service(config, tmp_path) as service:
            async with httpx2.AsyncClient(base_url=service.url, timeout=20, trust_env=False) as client:
                await healthy(client, 1)

                async def stream() -> str:
                    async with client.stream("POST", OPENAI.path, json=OPENAI.body(stream=True)) as answer:
                        try:
                            return (await answer.aread()).decode()
                        except httpx2.TransportError:
                            return "broken off"

                streams = [asyncio.create_task(stream()) for _ in range(4)]
                await node.wait_for(lambda seen: sum(one.tokens > 3 for one in seen.requests) == 4, timeout=15)

                service.kill()

                assert await asyncio.gather(*streams) == ["broken off"] * 4
                await node.wait_for(lambda seen: seen.in_flight == 0, timeout=2)
