"""The configuration under /api/v1: checks 27 and 29 of the tasks contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service

SECRET = "key-of-somebody-0123456789"
WRONG: list[tuple[str, Any]] = [
    ("network", {"load_balance_algorithm": "astrology"}),
    ("network", {"max_nodes": "many"}),
    ("network", {"max_nodes": 0}),
    ("orchestrator", {"heartbeat_interval": -1}),
    ("orchestrator", {"max_retries": {"a": 1}}),
    ("orchestrator", {"port": 9999}),
    ("orchestrator", []),
    ("security", {"api_key_required": True}),
]


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20) as client,
    ):
        yield running, client


async def config_of(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/config")
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["config"] == answer.json()["config"]
    found: dict[str, Any] = answer.json()["config"]
    return found


async def test_27_the_algorithm_changes_at_once(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        for node in ("a", "b"):
            body = {"host": "127.0.0.1", "port": 9, "max_concurrency": 10, "load_score": 0.8 if node == "a" else 0.0}
            await client.post(f"/nodes/{node}/register", json=body)
        changed = await client.put("/config", json={"network": {"load_balance_algorithm": "round_robin"}})
        metrics = (await client.get("/metrics")).json()["metrics"]
        seats = running.service.scheduler.seats
        spread: Counter[str] = Counter()
        running.service.scheduler.on_change.append(
            lambda new, old: spread.update([new.node] if new.attempt == 1 else [])
        )
        ids = [(await client.post("/tasks", json={"task_type": "t"})).json()["task_id"] for _ in range(6)]
        await running.until(lambda: sum(spread.values()) >= len(ids))
    assert changed.json()["changed"] == ["network.load_balance_algorithm"]
    assert metrics["load_balancer"]["algorithm"] == "round_robin"
    assert seats.placement.policy == "round_robin"
    assert spread["a"] == spread["b"]


async def test_29_a_part_changes_a_part(tmp_path: Path) -> None:
    async with api(tmp_path, tasks={"max_nodes": 100}) as (_, client):
        before = await config_of(client)
        answer = await client.put("/config", json={"network": {"load_balance_algorithm": "round_robin"}})
        after = await config_of(client)
    assert answer.status_code == 200
    assert answer.json()["config"] == after
    assert before["network"]["load_balance_algorithm"] == "weighted_round_robin"
    assert after["network"] == before["network"] | {"load_balance_algorithm": "round_robin"}
    assert after["network"]["max_nodes"] == 100


@pytest.mark.parametrize(("section", "keys"), WRONG)
async def test_29_wrong_values_change_nothing(tmp_path: Path, section: str, keys: Any) -> None:
    async with api(tmp_path) as (_, client):
        before = await config_of(client)
        body = {"websocket": {"max_connections": 7}, section: keys}
        answer = await client.put("/config", json=body)
        assert await config_of(client) == before
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["code"] == "INVALID_CONFIG"


async def test_29_secrets_are_masked(tmp_path: Path) -> None:
    auth = {"enabled": True, "keys": [{"name": "a", "key": SECRET, "role": "admin"}]}
    async with api(tmp_path, auth=auth) as (_, client):
        answer = await client.get("/config", headers={"X-API-Key": SECRET})
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert answer.json()["config"]["security"]["api_keys"][0]["name"] == "a"


async def test_what_was_shown_can_be_sent_back(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        config = await config_of(client)
        config["orchestrator"]["task_timeout"] = 60
        config["performance"]["cpu_threshold"] = 80
        config["network"]["auto_scaling_enabled"] = True
        answer = (await client.put("/config", json=config)).json()
    assert answer["changed"] == ["orchestrator.task_timeout"]
    assert answer["ignored"].keys() == {"performance.cpu_threshold", "network.auto_scaling_enabled"}
    assert answer["config"]["orchestrator"]["task_timeout"] == 60
    assert answer["config"]["network"]["auto_scaling_enabled"] is False


async def test_a_single_key_by_its_path(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        answer = await client.put("/config/orchestrator.max_retries", json={"value": 7})
        task = (await client.post("/tasks", json={"task_type": "t"})).json()["task_id"]
        found = (await client.get(f"/tasks/{task}")).json()["task"]
        missing = await client.put("/config/orchestrator.max_retries", json={})
        unknown = await client.put("/config/orchestrator.colour", json={"value": 1})
        fixed = await client.put("/config/storage.type", json={"value": "redis"})
    assert answer.json()["message"] == "Configuration orchestrator.max_retries updated"
    assert answer.json()["config"]["orchestrator"]["max_retries"] == 7
    assert found["max_retries"] == 7
    assert missing.status_code == 400
    for refused in (unknown, fixed):
        assert refused.status_code == 400
        assert refused.json()["details"]["code"] == "INVALID_CONFIG"


async def test_an_empty_body_and_no_json(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        empty = await client.put("/config", json={})
        text = await client.put("/config", content=b"{}", headers={"Content-Type": "text/plain"})
    assert (empty.status_code, empty.json()["error"]) == (400, "No configuration provided")
    assert text.status_code == 415


async def test_a_change_outlives_a_restart(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await client.put("/config", json={"network": {"load_balance_algorithm": "resource_aware"}})
        await client.put("/config/orchestrator.task_timeout", json={"value": 12})
    async with api(tmp_path) as (running, client):
        assert (await config_of(client))["network"]["load_balance_algorithm"] == "resource_aware"
        task = (await client.post("/tasks", json={"task_type": "t"})).json()["task_id"]
        assert (await client.get(f"/tasks/{task}")).json()["task"]["timeout"] == 12
    assert running.service.scheduler.seats.placement.policy == "resource_aware"
