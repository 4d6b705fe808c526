"""Numbers, models, requests, draining, keys, aliases and limits: the contract's checks 3, 36 and 40."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx2
import pytest
from admin_api import ADMIN, admin, prompt

from orchestrator.testing.model_server import ModelServer
from service import running_service

SECRET = "the-words-of-a-user"
KEYS = [
    {"name": role, "key": f"key-of-the-{role}", "role": role} for role in ("viewer", "operator", "developer", "admin")
]


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key-of-the-{role}"}


async def test_health_stats_and_models(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3", "phi"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}, {"id": "down", "url": "http://127.0.0.1:9"}]) as (
            running,
            api,
        ),
        httpx2.AsyncClient(base_url=running.url) as client,
    ):
        await running.healthy(1)
        answer = await client.post("/api/generate", json=prompt())
        health = (await api.get("/health")).json()
        assert health["success"] is True
        assert (health["status"], health["servers"], health["healthyServers"]) == ("healthy", 2, 1)
        assert {"uptime", "version", "requestsPerSecond", "queue"} <= health.keys()
        stats = (await api.get("/stats")).json()["stats"]
        assert (stats["totalServers"], stats["healthyServers"], stats["totalModels"]) == (2, 1, 2)
        assert stats["inFlightRequests"] == 0
        assert stats["servers"]["a"]["requests"] == 1
        assert stats["circuitBreakers"]["a:llama3:latest"] == {"state": "closed", "failureCount": 0}
        models = (await api.get("/models")).json()
        assert models["models"] == ["llama3:latest", "phi:latest"]
        assert models["details"][0]["servers"] == ["a"]
        assert models["details"][0]["loadedOn"] == ["a"]
        mapped = (await api.get("/model-map")).json()
        assert mapped["modelToServers"] == {"llama3:latest": ["a"], "phi:latest": ["a"]}
        assert mapped["serverToModels"] == {"a": ["llama3:latest", "phi:latest"], "down": []}
        assert (mapped["totalModels"], mapped["totalServers"]) == (2, 2)
        server.set_models(["llama3"])
        checked = {one["id"]: one for one in (await api.post("/health-check")).json()["servers"]}
        assert (checked["a"]["healthy"], checked["a"]["models"]) == (True, 1)
        assert checked["down"]["healthy"] is False

        found = (await api.get("/requests", params={"limit": 1})).json()["requests"][0]
        assert found["id"] == answer.headers["x-request-id"]
        assert (found["model"], found["serverId"], found["success"]) == ("llama3:latest", "a", True)
        assert found["attempts"][0]["serverId"] == "a"
        assert found["tokensGenerated"] > 0
        assert (await api.get(f"/requests/{found['id']}")).json()["request"] == found
        assert (await api.get("/requests", params={"model": "phi:latest"})).json()["count"] == 0
        assert (await api.get("/requests/nope")).status_code == 404
        assert (await api.get("/requests", params={"limit": 0})).status_code == 400


async def test_what_is_in_flight_and_waiting_shows_prompts_to_admins_only(tmp_path: Path) -> None:
    config = {
        "auth": {"enabled": True, "keys": KEYS},
        "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
    }
    async with ModelServer(["llama3"]) as server:
        config["nodes"] = [{"id": "a", "url": server.url, "max_concurrency": 1}]
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
        ):
            await running.healthy(1)
            server.mode("hang_mid", after=2)
            body = {"model": "llama3", "messages": [{"role": "user", "content": SECRET}], "stream": True}
            calls = [
                asyncio.ensure_future(client.post("/v1/chat/completions", json=body, headers=bearer("developer")))
                for _ in range(2)
            ]
            await running.until(lambda: server.hanging == 1 and len(running.service.gateway.queue) == 1)
            await running.until(lambda: any(one.tokens_seen for one in running.service.gateway.active))
            full = await client.get(f"{ADMIN}/in-flight", headers=bearer("admin"))
            hidden = await client.get(f"{ADMIN}/in-flight", headers=bearer("operator"))
            assert SECRET in full.text
            assert SECRET not in hidden.text
            shown = hidden.json()["inFlight"][0]
            assert (hidden.json()["total"], shown["serverId"], shown["total"]) == (1, "a", 1)
            assert shown["byModel"] == {"llama3:latest": {"regular": 1, "bypass": 0}}
            stream = shown["streamingRequests"][0]
            assert stream["hasReceivedFirstChunk"] is True
            assert stream["chunkCount"] > 0
            assert stream["startTime"] <= stream["lastChunkTime"]
            assert (stream["protocol"], stream["endpoint"]) == ("openai", "/v1/chat/completions")

            queue = (await client.get(f"{ADMIN}/queue", headers=bearer("viewer"))).json()
            assert SECRET not in str(queue)
            assert (queue["queue"]["currentSize"], queue["queue"]["byModel"]) == (1, {"llama3:latest": 1})
            item = queue["queue"]["items"][0]
            assert (item["model"], item["position"], item["clientId"]) == ("llama3:latest", 1, "developer")
            assert item["enqueueTime"] < item["deadline"]
            assert queue["inFlight"]["a"] == {"total": 1, "byModel": {"llama3:latest": 1}}
            server.mode()
            server.release()
            assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200, 200]


async def test_draining_the_service(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        await running.healthy(1)
        server.mode("hang", times=1)
        slow = asyncio.ensure_future(client.post("/api/generate", json=prompt()))
        await server.wait_for(lambda one: one.hanging == 1)
        started = (await api.post("/drain", params={"timeout": 20000})).json()
        assert (started["message"], started["timeout"]) == ("Draining started", 20000)
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.post("/api/generate", json=prompt())).status_code == 503
        state = (await api.get("/drain")).json()
        assert (state["draining"], state["finished"], state["inFlightRequests"]) == (True, None, 1)
        server.release()
        assert (await slow).status_code == 200
        drain = running.service.drain
        await running.until(lambda: drain.state is not None and drain.state.finished)
        cancelled = (await api.post("/drain/cancel")).json()
        assert cancelled["draining"] is False
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.post("/api/generate", json=prompt())).status_code == 200


async def test_keys_are_shown_once(tmp_path: Path) -> None:
    config = {"auth": {"enabled": True, "keys": KEYS}}
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + ADMIN, headers=bearer("admin")) as api,
    ):
        made = await api.post("/keys", json={"name": "ci", "role": "viewer", "models": ["llama3"], "rateLimit": 5})
        assert made.status_code == 201
        text, key_id = made.json()["key"], made.json()["id"]
        listed = await api.get("/keys")
        assert text not in listed.text
        assert "key-of-the" not in listed.text
        shown = {one["id"]: one for one in listed.json()["keys"]}
        assert shown[key_id]["status"] == "active"
        assert shown[key_id]["rateLimit"] == 5
        assert shown["config:admin"]["source"] == "config"
        with_key = {"Authorization": f"Bearer {text}"}
        assert (await api.get("/servers", headers=with_key)).status_code == 200
        assert (await api.get("/keys", headers=with_key)).status_code == 403
        assert (await api.delete(f"/keys/{key_id}")).status_code == 200
        assert (await api.delete(f"/keys/{key_id}")).status_code == 404
        assert (await api.get("/servers", headers=with_key)).status_code == 401
        assert (await api.post("/keys", json={"name": "x", "role": "emperor"})).status_code == 400
        for moment in (1, 2**63, 10**400):
            late = {"name": "x", "role": "viewer", "expiresAt": moment}
            assert (await api.post("/keys", json=late)).status_code == 400


async def test_aliases(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}], models={"aliases": {"fixed": "llama3"}}) as (
            running,
            api,
        ),
        httpx2.AsyncClient(base_url=running.url) as client,
    ):
        await running.healthy(1)
        made = await api.put("/aliases/team%2Ffast", json={"targets": ["nope", "llama3"]})
        assert made.json()["alias"] == {
            "name": "team/fast",
            "targets": ["nope", "llama3"],
            "models": ["llama3:latest"],
            "source": "api",
        }
        assert (await client.post("/api/generate", json=prompt("team/fast"))).status_code == 200
        assert (await api.get("/aliases")).json()["count"] == 2
        assert (await api.delete("/aliases/team%2Ffast")).status_code == 200
        assert (await api.delete("/aliases/team%2Ffast")).status_code == 404
        assert (await api.put("/aliases/fixed", json={"targets": "phi"})).status_code == 409
        assert (await api.put("/aliases/x", json={"targets": []})).status_code == 400
        assert (await api.put("/aliases/x", json={"targets": "x"})).status_code == 400


async def test_limits_of_the_administration(tmp_path: Path) -> None:
    async with (
        running_service({"security": {"rate_limit_max": 60}}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + ADMIN) as api,
    ):
        first = await api.post("/queue/resume")
        assert first.headers["ratelimit-limit"] == "50"
        assert first.headers["ratelimit-remaining"] == "49"
        assert first.headers["ratelimit-policy"] == "50;w=300"
        for _ in range(49):
            assert (await api.post("/queue/resume")).status_code == 200
        refused = await api.post("/queue/resume")
        assert refused.status_code == 429
        body = refused.json()
        assert body["error"] == "Too many requests"
        assert body["message"]
        assert body["retryAfter"] == int(refused.headers["retry-after"]) > 0
        assert refused.headers["ratelimit-remaining"] == "0"
        answers = [(await api.get("/queue")).status_code for _ in range(12)]
        assert answers[0] == 200
        assert answers[-1] == 429
        assert (await api.get("/health")).status_code == 200


async def test_changes_are_audited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with admin(tmp_path) as (_, api):
        with caplog.at_level(logging.INFO, "orchestrator.audit"):
            await api.post("/queue/pause")
            await api.post("/servers/add", json={"id": "a", "url": "http://127.0.0.1:9", "apiKey": "sk-very-secret"})
            await api.get("/servers")
            await api.delete("/servers/zz")
    lines = [record.getMessage() for record in caplog.records if record.name == "orchestrator.audit"]
    assert [line.split()[2] for line in lines] == ["queue.pause", "server.add"]
    assert '"a"' in lines[1]
    assert "sk-very-secret" not in str(lines)
