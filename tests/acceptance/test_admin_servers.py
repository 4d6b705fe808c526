"""Administration of servers: the fleet contract's checks 4 to 8 and 35."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import admin, prompt

from orchestrator.testing.model_server import ModelServer


async def test_add_list_change_remove(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server, admin(tmp_path) as (running, api):
        body = {"id": "a", "url": server.url + "/", "maxConcurrency": 4, "apiKey": "sk-very-secret"}
        added = await api.post("/servers/add", json=body)
        assert added.status_code == 200
        assert added.json() == {
            "success": True,
            "id": "a",
            "url": server.url,
            "maxConcurrency": 4,
            "kind": "ollama",
            "type": "ollama",
        }
        await running.healthy(1)
        listed = await api.get("/servers")
        assert "sk-very-secret" not in listed.text
        assert listed.json()["count"] == 1
        shown = listed.json()["servers"][0]
        assert shown["healthy"] is True
        assert shown["models"] == ["llama3:latest"]
        assert shown["v1Models"] == ["llama3:latest"]
        assert shown["supportsOllama"] is True
        assert shown["supportsV1"] is True
        assert shown["apiKey"] == "***REDACTED***"
        assert shown["lastResponseTime"] > 0
        assert shown["draining"] is False
        assert shown["maintenance"] is False
        assert shown["loaded"] == []

        changed = await api.patch("/servers/a", json={"maxConcurrency": 9, "labels": {"zone": "b"}, "apiKey": None})
        assert changed.json() | {"server": None} == {"success": True, "id": "a", "maxConcurrency": 9, "server": None}
        shown = (await api.get("/servers/a")).json()["server"]
        assert shown["maxConcurrency"] == 9
        assert shown["labels"] == {"zone": "b"}
        assert "apiKey" not in shown

        assert (await api.delete("/servers/a")).json() == {"success": True, "id": "a"}
        assert (await api.get("/servers")).json()["count"] == 0
        assert (await api.get("/circuit-breakers")).json()["circuitBreakers"] == []


async def test_the_kind_of_a_server_is_found_out(tmp_path: Path) -> None:
    async with (
        ModelServer(["gpt"], dialects=["openai"]) as openai,
        ModelServer(["llama3"], dialects=["ollama"]) as ollama,
        admin(tmp_path) as (_, api),
    ):
        assert (await api.post("/servers/add", json={"id": "o", "url": openai.url})).json()["kind"] == "openai"
        found = await api.post("/servers/add", json={"id": "l", "url": ollama.url, "type": "auto"})
        assert found.json()["kind"] == "ollama"
        absent = await api.post("/servers/add", json={"id": "gone", "url": "http://127.0.0.1:9"})
        assert absent.json()["kind"] == "ollama"
        forced = await api.post("/servers/add", json={"id": "f", "url": "http://127.0.0.1:10", "type": "openai"})
        assert forced.json()["kind"] == "openai"


async def test_duplicates_are_refused(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        url = "http://127.0.0.1:9"
        assert (await api.post("/servers/add", json={"id": "a", "url": url})).status_code == 200
        again = await api.post("/servers/add", json={"id": "a", "url": "http://127.0.0.1:10"})
        assert again.status_code == 409
        assert again.json()["error"] == "Server 'a' already exists"
        same = await api.post("/servers/add", json={"id": "b", "url": url + "/"})
        assert same.status_code == 409
        assert same.json() | {"error": ""} == same.json() | {
            "error": "",
            "existingServerId": "a",
            "existingUrl": url,
            "requestedUrl": url + "/",
            "normalizedUrl": url,
        }


@pytest.mark.parametrize(
    "body",
    [
        {"id": "a", "url": "not a url"},
        {"id": "a", "url": "ftp://127.0.0.1"},
        {"id": "a", "url": "http://user:pass@127.0.0.1"},
        {"id": "a", "url": "http://127.0.0.1:9", "maxConcurrency": -5},
        {"id": "a", "url": "http://127.0.0.1:9", "maxConcurrency": 0},
        {"id": "x:y", "url": "http://127.0.0.1:9"},
        {"id": "../x", "url": "http://127.0.0.1:9"},
        {"id": "a", "url": "http://127.0.0.1:9", "weight": -1},
        {"id": "a", "url": "http://127.0.0.1:9", "kind": "toaster"},
        {"id": "a", "url": "http://127.0.0.1:9", "apiKey": "two\r\nlines"},
        {"id": "a", "url": "http://127.0.0.1:9", "maxConcurency": 3},
    ],
)
async def test_wrong_fields_are_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async with admin(tmp_path) as (_, api):
        answer = await api.post("/servers/add", json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
        assert (await api.get("/servers")).json()["count"] == 0


async def test_missing_fields_and_unknown_servers(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        missing = await api.post("/servers/add", json={})
        assert (missing.status_code, missing.json()["error"]) == (400, "id and url are required")
        for method, path in (
            ("PATCH", "/servers/zz"),
            ("DELETE", "/servers/zz"),
            ("GET", "/servers/zz"),
            ("POST", "/servers/zz/drain"),
            ("POST", "/servers/zz/undrain"),
            ("POST", "/servers/zz/maintenance"),
        ):
            body = {"maxConcurrency": 2} if method == "PATCH" else None
            answer = await api.request(method, path, json=body)
            assert answer.status_code == 404, path
            assert answer.json()["error"] == "Server 'zz' not found"


async def test_a_drained_server_gets_no_new_traffic_and_finishes_what_it_has(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as one,
        ModelServer(["llama3"]) as two,
        admin(tmp_path, nodes=[{"id": "a", "url": one.url}, {"id": "b", "url": two.url}]) as (running, api),
    ):
        await running.healthy(2)
        one.mode("hang", times=1)
        async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
            slow = asyncio.ensure_future(client.post("/api/generate--a", json=prompt()))
            await one.wait_for(lambda server: server.hanging == 1)
            drained = (await api.post("/servers/a/drain")).json()
            assert drained["inFlightRequests"] == 1
            assert drained["estimatedCompletion"] > 0
            before = len(one.requests)
            for _ in range(6):
                assert (await client.post("/api/generate", json=prompt())).status_code == 200
            assert [r for r in one.requests[before:] if r.path == "/api/generate"] == []
            one.release()
            assert (await slow).status_code == 200
            assert (await api.post("/servers/a/undrain")).json()["message"]
            away = await api.post("/servers/b/maintenance", json={"enabled": True, "reason": "new fan"})
            assert away.json()["maintenance"] is True
            assert (await api.get("/servers/b")).json()["server"]["reason"] == "new fan"
            assert (await client.post("/api/generate", json=prompt())).headers["x-selected-server"] == "a"
            back = await api.post("/servers/b/maintenance", json={"enabled": False})
            assert back.json()["maintenance"] is False


async def test_an_operator_cannot_have_a_secret_sent_elsewhere(tmp_path: Path) -> None:
    keys = [{"name": role, "key": f"key-of-the-{role}", "role": role} for role in ("operator", "admin")]
    nodes = [{"id": "a", "url": "http://127.0.0.1:9", "api_key": "sk-very-secret"}]
    async with admin(tmp_path, nodes=nodes, auth={"enabled": True, "keys": keys}) as (running, api):
        api.headers["Authorization"] = "Bearer key-of-the-operator"
        variable = {"id": "b", "url": "http://127.0.0.1:10", "apiKey": "env:HOME", "kind": "openai"}
        assert (await api.post("/servers/add", json=variable)).status_code == 403
        assert (await api.patch("/servers/a", json={"apiKey": "env:HOME"})).status_code == 403
        assert (await api.patch("/servers/a", json={"url": "http://127.0.0.1:11"})).status_code == 403
        assert running.service.fleet.nodes["a"].spec.url == "http://127.0.0.1:9"
        assert (await api.patch("/servers/a", json={"maxConcurrency": 3})).status_code == 200
        moved = await api.patch("/servers/a", json={"url": "http://127.0.0.1:11", "apiKey": "sk-another"})
        assert moved.status_code == 200
        api.headers["Authorization"] = "Bearer key-of-the-admin"
        assert (await api.post("/servers/add", json=variable)).status_code == 200
