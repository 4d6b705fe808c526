"""Circuit breakers and bans: the fleet contract's checks 31 to 34."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from admin_api import admin, prompt

from orchestrator.testing.model_server import ModelServer
from service import RunningService

FIELDS = {
    "serverId",
    "serverIdOnly",
    "model",
    "state",
    "failureCount",
    "successCount",
    "totalRequestCount",
    "blockedRequestCount",
    "lastFailure",
    "lastSuccess",
    "nextRetryAt",
    "errorRate",
    "errorCounts",
    "consecutiveSuccesses",
    "halfOpenStartedAt",
    "halfOpenAttempts",
    "activeTestsInProgress",
    "lbScore",
}
MODEL = "library/llama3:8b"


def nodes(*servers: ModelServer) -> list[dict[str, Any]]:
    return [{"id": name, "url": server.url} for name, server in zip("abc", servers, strict=False)]


async def generate(running: RunningService, model: str = MODEL, path: str = "/api/generate") -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
        return await client.post(path, json=prompt(model))


async def test_the_list_has_the_contract_s_fields(tmp_path: Path) -> None:
    async with ModelServer([MODEL]) as server, admin(tmp_path, nodes=nodes(server)) as (running, api):
        await running.healthy(1)
        assert (await generate(running)).status_code == 200
        found = {one["serverId"]: one for one in (await api.get("/circuit-breakers")).json()["circuitBreakers"]}
        assert set(found) == {"a", f"a:{MODEL}"}
        pair = found[f"a:{MODEL}"]
        assert set(pair) >= FIELDS
        assert pair["state"] == "CLOSED"
        assert pair["serverIdOnly"] == "a"
        assert pair["model"] == MODEL
        assert pair["successCount"] == pair["totalRequestCount"] == 1
        assert pair["lastSuccess"] > 1_600_000_000_000
        assert pair["errorCounts"].keys() == {"retryable", "non-retryable", "transient", "permanent", "rateLimited"}
        assert 0 < pair["lbScore"]["totalScore"] <= 100
        assert pair["lbScore"]["latencyScore"] > 0
        assert found["a"]["model"] == ""


@pytest.mark.parametrize("model", [quote(MODEL, safe=""), quote(MODEL, safe=":"), MODEL])
async def test_traffic_obeys_a_forced_state(tmp_path: Path, model: str) -> None:
    async with ModelServer([MODEL]) as server, admin(tmp_path, nodes=nodes(server)) as (running, api):
        await running.healthy(1)
        opened = (await api.post(f"/circuit-breakers/a/{model}/open")).json()
        assert opened["circuitBreaker"]["state"] == "OPEN"
        assert opened["circuitBreaker"]["name"] == f"a:{MODEL}"
        assert opened["circuitBreaker"]["timeLeft"] is None
        refused = await generate(running)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert (await generate(running, path="/api/generate--a")).status_code == 503
        assert (await generate(running, path="/api/generate--a?bypass=true")).status_code == 200
        one = (await api.get(f"/circuit-breakers/a/{model}")).json()
        assert (one["key"], one["model"], one["stats"]["state"]) == (f"a:{MODEL}", MODEL, "open")
        assert one["history"][-1]["newState"] == "open"
        shown = (await api.get(f"/servers/a/models/{model}/circuit-breaker")).json()["circuitBreaker"]
        assert (shown["state"], shown["errorRatePercent"]) == ("OPEN", 0)

        half = (await api.post(f"/circuit-breakers/a/{model}/half-open")).json()
        assert half["circuitBreaker"]["state"] == "HALF-OPEN"
        for _ in range(3):
            assert (await generate(running)).status_code == 200
        assert (await api.get(f"/circuit-breakers/a/{model}")).json()["stats"]["state"] == "closed"

        await api.post(f"/circuit-breakers/a/{model}/open", json={"durationMs": 60_000})
        timed = (await api.get(f"/circuit-breakers/a/{model}")).json()["stats"]
        assert 50_000 < timed["timeLeft"] <= 60_000
        closed = (await api.post(f"/circuit-breakers/a/{model}/close")).json()
        assert closed["circuitBreaker"]["state"] == "CLOSED"
        assert (await generate(running)).status_code == 200

        await api.post(f"/circuit-breakers/a/{model}/open")
        reset = (await api.post(f"/circuit-breakers/a/{model}/reset")).json()
        assert reset | {"message": ""} == {
            "success": True,
            "message": "",
            "previousState": "open",
            "currentState": "closed",
            "testCancelled": False,
        }


async def test_a_server_s_breaker_and_all_of_its_models(tmp_path: Path) -> None:
    async with ModelServer(["one", "two"]) as server, admin(tmp_path, nodes=nodes(server)) as (running, api):
        await running.healthy(1)
        for model in ("server", "one", "two"):
            await api.post(f"/circuit-breakers/a/{model}/open")
        assert (await api.get("/circuit-breakers/a/server")).json()["stats"]["state"] == "open"
        whole = (await api.get("/circuit-breakers/a")).json()
        assert whole["stats"]["state"] == "open"
        assert {name: one["state"] for name, one in whole["models"].items()} == {
            "one:latest": "open",
            "two:latest": "open",
        }
        reset = (await api.post("/circuit-breakers/a/reset")).json()
        assert (reset["currentState"], reset["reset"]) == ("closed", 3)
        states = {one["state"] for one in (await api.get("/circuit-breakers")).json()["circuitBreakers"]}
        assert states == {"CLOSED"}
        await api.post("/circuit-breakers/a/server/open")
        assert (await api.post("/circuit-breakers/a/server/reset")).json()["previousState"] == "open"
        assert (await generate(running, "one")).status_code == 200


async def test_names_that_nobody_knows_make_no_breaker(tmp_path: Path) -> None:
    async with ModelServer(["one"]) as server, admin(tmp_path, nodes=nodes(server)) as (running, api):
        await running.healthy(1)
        for method, path in (
            ("GET", "/circuit-breakers/zz"),
            ("GET", "/circuit-breakers/zz/one"),
            ("GET", "/circuit-breakers/a/nope"),
            ("GET", "/servers/a/models/nope/circuit-breaker"),
            ("POST", "/circuit-breakers/zz/reset"),
            ("POST", "/circuit-breakers/zz/one/open"),
            ("POST", "/circuit-breakers/a/nope/open"),
            ("POST", "/circuit-breakers/a/nope/reset"),
        ):
            assert (await api.request(method, path)).status_code == 404, path
        listed = (await api.get("/circuit-breakers")).json()["circuitBreakers"]
        assert [one["serverId"] for one in listed] == ["a"]


async def test_an_open_breaker_recovers_unaided(tmp_path: Path) -> None:
    rules = {"open_time": 0.2, "open_max": 0.2, "recovery_success_threshold": 1, "base_failure_threshold": 3}
    config = {"circuit_breaker": rules | {"min_requests": 1}, "retry": {"max_attempts": 1}}
    async with (
        ModelServer(["one"]) as server,
        admin(tmp_path, nodes=nodes(server), **config) as (running, api),
    ):
        await running.healthy(1)
        server.mode("status", status=500)
        for _ in range(5):
            await generate(running, "one")
        opened = (await api.get("/circuit-breakers/a/one")).json()
        assert opened["history"][0]["newState"] == "open"
        assert opened["stats"]["lastFailureReason"]
        server.mode()
        breaker = running.service.fleet.breakers()["a", "one:latest"]
        async with asyncio.timeout(20):
            while breaker.state.value != "closed":
                await generate(running, "one")
        assert (await api.get("/circuit-breakers/a/one")).json()["stats"]["state"] == "closed"


async def test_bans(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as one,
        ModelServer(["llama3"]) as two,
        admin(tmp_path, nodes=nodes(one, two)) as (running, api),
    ):
        await running.healthy(2)
        made = (await api.post("/bans", json={"serverId": "a", "model": "llama3", "reason": "too slow"})).json()
        assert made["ban"] | {"createdAt": 0} == {
            "serverId": "a",
            "model": "llama3:latest",
            "key": "a:llama3:latest",
            "type": "permanent",
            "reason": "too slow",
            "until": None,
            "timeLeft": None,
            "remainingMs": None,
            "createdAt": 0,
            "createdBy": "anonymous",
        }
        for _ in range(4):
            assert (await generate(running, "llama3")).headers["x-selected-server"] == "b"
        timed = (await api.post("/bans", json={"model": "llama3", "durationMs": 60_000})).json()["ban"]
        assert (timed["key"], timed["type"]) == (":llama3:latest", "temporary")
        assert timed["until"] > 1_600_000_000_000
        assert (await generate(running, "llama3")).status_code == 503
        listed = (await api.get("/bans")).json()
        assert (listed["count"], {ban["type"] for ban in listed["bans"]}) == (2, {"permanent", "temporary"})

        assert (await api.delete("/bans/a/llama3:latest")).json()["removed"] == 1
        gone = await api.delete("/bans/a/llama3:latest")
        assert gone.status_code == 404
        assert "error" in gone.json()
        assert (await api.delete("/bans/model/llama3")).json()["removed"] == 1
        await api.post("/bans", json={"serverId": "a"})
        assert (await api.delete("/bans/server/a")).json()["removed"] == 1
        await api.post("/bans", json={"serverId": "b"})
        assert (await api.delete("/bans")).json()["removed"] == 1
        assert (await api.delete("/bans")).json()["removed"] == 0
        assert (await generate(running, "llama3")).status_code == 200


async def test_wrong_bans_are_refused(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server, admin(tmp_path, nodes=nodes(server)) as (running, api):
        await running.healthy(1)
        for body, status in (
            ({}, 400),
            ({"serverId": "a", "durationMs": 0}, 400),
            ({"serverId": "zz"}, 404),
            ({"model": "nope"}, 404),
        ):
            assert (await api.post("/bans", json=body)).status_code == status, body


async def test_a_failing_pair_is_listed_and_can_be_forgiven(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), retry={"max_attempts": 1}) as (running, api),
    ):
        await running.healthy(1)
        server.mode("status", status=500)
        for _ in range(4):
            await generate(running, "llama3")
        listed = (await api.get("/bans")).json()["bans"]
        assert [(ban["key"], ban["type"]) for ban in listed] == [("a:llama3:latest", "cooldown")]
        assert listed[0]["timeLeft"] > 0
        assert (await api.delete("/bans/a/llama3:latest")).status_code == 200
        assert (await api.get("/bans")).json()["bans"] == []
