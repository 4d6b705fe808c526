"""Breakers that recover unaided, tests by hand, and the record of recoveries: the fleet contract's checks 26 and 33."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import admin, prompt
from cli_command import CommandLine

from orchestrator.testing.model_server import Model, ModelServer
from service import RunningService

FAST: dict[str, Any] = {
    "open_time": 0.1,
    "open_max": 0.2,
    "base_failure_threshold": 3,
    "min_failure_threshold": 3,
    "adaptive_thresholds": False,
    "recovery_test_interval": 0.1,
}
BY_HAND = {**FAST, "recovery_tests": False}
ONCE = {"max_attempts": 1}


def nodes(*servers: ModelServer) -> list[dict[str, Any]]:
    return [{"id": name, "url": server.url} for name, server in zip("abc", servers, strict=False)]


async def generate(running: RunningService, model: str = "llama3", query: str = "") -> int:
    async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
        return (await client.post(f"/api/generate--a{query}", json=prompt(model))).status_code


async def until(condition: Callable[[], Awaitable[Any]], timeout: float = 15.0) -> Any:
    """The first true answer."""
    async with asyncio.timeout(timeout):
        while not (found := await condition()):  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.02)
        return found


async def stats(api: httpx2.AsyncClient, model: str = "llama3") -> dict[str, Any]:
    answer = await api.get(f"/circuit-breakers/a/{model}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["stats"]
    return found


async def break_pair(running: RunningService, api: httpx2.AsyncClient, server: ModelServer) -> None:
    """Loads the model, and opens its breaker by failures."""
    assert await generate(running) == 200
    await running.service.health.check(running.service.fleet.nodes["a"])
    server.mode("status", status=500)
    for _ in range(3):
        await generate(running)
    assert (await stats(api))["openCount"] == 1


def generated(server: ModelServer) -> int:
    return sum(one.path == "/api/generate" for one in server.requests)


async def test_a_model_s_breaker_closes_without_traffic(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=FAST, retry=ONCE) as (running, api),
    ):
        await running.healthy(1)
        await break_pair(running, api, server)

        async def failed() -> bool:
            return bool((await api.get("/recovery-failures/a")).json()["failedRecoveries"] >= 2)

        await until(failed)
        broken = await stats(api)
        assert broken["openCount"] >= 2
        assert broken["errorCounts"]["retryable"] >= 4
        assert (broken["lastErrorType"], broken["lastFailureReason"]) == ("retryable", "HTTP 500: injected fault")
        server.mode()

        async def closed() -> bool:
            return bool((await stats(api))["state"] == "closed")

        await until(closed)
        found = (await api.get("/metrics/recovery-tests")).json()
        assert found["aggregate"]["successes"] == 3
        assert found["aggregate"]["failures"] >= 2
        assert found["aggregate"]["totalTests"] == sum(
            found["aggregate"][name] for name in ("successes", "failures", "timeouts", "cancellations")
        )
        assert 0 < found["recoveryProbabilities"]["a:llama3:latest"] < 1
        one = (await api.get("/metrics/recovery-tests/a:llama3:latest")).json()
        assert one["breakerName"] == "a:llama3:latest"
        assert [test["success"] for test in one["metrics"][:3]] == [True, True, True]
        assert one["totalTests"] == found["aggregate"]["totalTests"]
        tests = [one for one in server.requests if one.path == "/api/generate" and one.body["prompt"] == "Hi"]
        assert tests
        assert all(one.body["options"]["num_predict"] == 1 for one in tests)


async def test_a_node_s_breaker_closes_by_probes_and_no_model_is_loaded(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=FAST) as (running, api),
    ):
        await running.healthy(1)
        await api.post("/circuit-breakers/a/server/open", json={"durationMs": 100})
        await api.post("/circuit-breakers/a/llama3/open", json={"durationMs": 100})

        async def closed() -> bool:
            return bool((await stats(api, "server"))["state"] == "closed")

        await until(closed)
        await asyncio.sleep(0.6)  # several intervals in which a test could be made, and is not
        assert (await stats(api))["state"] == "half-open"
        assert generated(server) == 0
        assert server.loaded == []
        moves = (await api.get("/recovery-failures/a/circuit-breaker-transitions?model=server")).json()
        assert [one["newState"] for one in moves["transitions"]] == ["closed", "half-open", "open"]
        for _ in range(3):  # traffic does it, as ever
            assert await generate(running) == 200
        assert (await stats(api))["state"] == "closed"


async def test_a_test_by_hand_counts_as_a_trial(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=BY_HAND) as (running, api),
    ):
        await running.healthy(1)
        path = "/servers/a/models/llama3/recovery-test"
        refused = (await api.post(path)).json()
        assert (refused["success"], refused["breakerState"]) == (False, "closed")
        assert refused["error"]
        await api.post("/circuit-breakers/a/llama3/half-open")
        for state in ("half-open", "half-open", "closed"):
            passed = (await api.post(path)).json()
            assert (passed["success"], passed["breakerState"]) == (True, state)
        await api.post("/circuit-breakers/a/llama3/half-open")
        server.mode("status", status=500)
        failed = (await api.post(path)).json()
        assert (failed["success"], failed["breakerState"], failed["error"]) == (
            False,
            "open",
            "HTTP 500: injected fault",
        )
        await api.post("/circuit-breakers/a/server/half-open")
        assert (await api.post("/servers/a/models/server/recovery-test")).json()["success"] is True
        for unknown in ("/servers/zz/models/llama3/recovery-test", "/servers/a/models/nope/recovery-test"):
            assert (await api.post(unknown)).status_code == 404


async def test_an_embedding_model_is_tested_with_an_embedding(tmp_path: Path) -> None:
    async with (
        ModelServer([Model("nomic", capabilities=("embedding",))]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=BY_HAND) as (running, api),
    ):
        await running.healthy(1)
        await api.post("/circuit-breakers/a/nomic/half-open")
        assert (await api.post("/servers/a/models/nomic/recovery-test")).json()["success"] is True
        assert [one.path for one in server.requests if one.path == "/api/embed"] == ["/api/embed"]


async def test_a_reset_ends_a_running_test(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=BY_HAND) as (running, api),
    ):
        await running.healthy(1)
        path = "/servers/a/models/llama3/recovery-test"
        for reset in ("/circuit-breakers/a/llama3/reset", "/circuit-breakers/a/reset"):
            await api.post("/circuit-breakers/a/llama3/half-open")
            server.mode("hang")
            test = asyncio.create_task(api.post(path))
            await server.wait_for(lambda one: one.hanging == 1)
            assert (await stats(api))["activeTestsInProgress"] == 1
            second = (await api.post(path)).json()
            assert (second["success"], "running" in second["error"]) == (False, True)
            told = (await api.post(reset)).json()
            assert (told["testCancelled"], told["currentState"]) == (True, "closed")
            ended = (await test).json()
            assert (ended["success"], ended["breakerState"]) == (False, "closed")
            server.release()
            server.mode()
            assert (await api.post(reset)).json()["testCancelled"] is False
        assert (await api.get("/metrics/recovery-tests")).json()["aggregate"]["cancellations"] == 2
        assert (await api.get("/metrics/recovery-tests/a:llama3")).json()["recoveryProbability"] == -1
        assert (await api.get("/metrics/recovery-tests/a:nope")).status_code == 404


async def test_bypass_leaves_an_open_breaker_as_it_is(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=BY_HAND) as (running, api),
    ):
        await running.healthy(1)
        await api.post("/circuit-breakers/a/llama3/open")
        assert await generate(running) == 503
        before = await stats(api)
        assert before["blockedRequestCount"] == 1
        async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
            assert (await client.post("/api/generate", json=prompt())).status_code == 503
        assert (before := await stats(api))["blockedRequestCount"] == 2
        assert await generate(running, query="?bypass=true") == 200
        assert await stats(api) == before


async def test_a_node_that_is_down_is_recorded(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        ModelServer(["llama3"]) as other,
        admin(tmp_path, nodes=nodes(server, other), circuit_breaker=FAST) as (running, api),
    ):
        await running.healthy(2)
        empty = (await api.get("/recovery-failures/a")).json()
        assert (empty["totalRecoveryAttempts"], empty["pattern"]) == (0, "stable")
        await server.kill()

        async def persistent() -> dict[str, Any] | None:
            found: dict[str, Any] = (await api.get("/recovery-failures/a")).json()
            return found if found["pattern"] == "persistent" else None

        down = await until(persistent)
        assert down["currentConsecutiveFailures"] >= 5
        assert down["failureRate"] == 1.0
        assert down["lastSuccessfulRecovery"] is None
        total = (await api.get("/recovery-failures")).json()
        assert (total["totalServers"], total["serversWithFailures"], total["serversWithPersistentFailures"]) == (
            2,
            1,
            1,
        )
        assert total["topFailingServers"][0]["serverId"] == "a"
        assert total["commonErrorTypes"] == {"connection_refused": total["totalFailures"]}
        told = (await api.get("/recovery-failures/a/analysis")).json()
        assert (told["windowMs"], told["pattern"]) == (3_600_000, "persistent")
        assert told["recommendations"]
        page = (await api.get("/recovery-failures/a/history?limit=2&offset=1")).json()
        assert (page["count"], page["limit"], page["offset"]) == (2, 2, 1)
        newer, older = page["history"]
        assert newer["timestamp"] > older["timestamp"]
        assert newer["attemptNumber"] == older["attemptNumber"] + 1
        assert (newer["source"], newer["errorType"]) == ("health_check", "connection_refused")
        recent = (await api.get("/recovery-failures/recent?limit=3")).json()
        assert [one["serverId"] for one in recent["records"]] == ["a", "a", "a"]

        await server.restart()
        await running.healthy(2)
        up = (await api.get("/recovery-failures/a")).json()
        assert (up["successfulRecoveries"], up["currentConsecutiveFailures"]) == (1, 0)
        assert [one["serverId"] for one in (await api.get("/recovery-failures/stats/all")).json()["servers"]] == ["a"]
        assert (await api.post("/recovery-failures/a/reset")).json()["success"] is True
        assert (await api.get("/recovery-failures/stats/all")).json()["count"] == 0


async def test_impact_of_breakers_and_wrong_input(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=FAST) as (running, api),
    ):
        await running.healthy(1)
        await api.post("/circuit-breakers/a/llama3/open")
        await api.post("/circuit-breakers/a/llama3/close")
        told = (await api.get("/recovery-failures/a/circuit-breaker-impact")).json()
        assert (told["isImpacted"], told["totalTransitions"], told["openTransitions"]) == (True, 2, 1)
        assert (told["openToHealthyRatio"], told["modelLevelIssues"]) == (1.0, 1)
        moves = (await api.get("/recovery-failures/a/circuit-breaker-transitions?limit=1")).json()
        assert [one["newState"] for one in moves["transitions"]] == ["closed"]
        assert (moves["transitions"][0]["model"], moves["transitions"][0]["previousState"]) == ("llama3:latest", "open")
        for path in ("", "/history", "/analysis", "/circuit-breaker-impact", "/circuit-breaker-transitions"):
            assert (await api.get(f"/recovery-failures/zz{path}")).status_code == 404, path
        assert (await api.post("/recovery-failures/zz/reset")).status_code == 404
        for query in ("recent?limit=0", "a/history?offset=-1", "a/analysis?windowMs=x", "?windowMs=0"):
            path = f"/recovery-failures{query}" if query.startswith("?") else f"/recovery-failures/{query}"
            assert (await api.get(path)).status_code == 400, path


async def test_the_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=nodes(server), circuit_breaker=BY_HAND) as (running, api),
    ):
        await running.healthy(1)
        run = CommandLine(capsys).at(running.url)
        assert "No node had to recover." in (await run("recovery", "list")).err
        refused = await run("breakers", "test", "a", "llama3")
        assert refused.status == 1
        assert "half-open" in refused.err
        await api.post("/circuit-breakers/a/llama3/half-open")
        passed = await run("breakers", "test", "a", "llama3")
        assert (passed.status, passed.out) == (0, "")
        assert "Recovery test of a:llama3:latest passed; it is half-open." in passed.err
        server.mode("status", status=500)
        assert (await run("breakers", "test", "a", "llama3", "--json")).status == 1
        (row,) = (await run("recovery", "list")).rows
        assert (row["node"], row["pattern"], row["failed"]) == ("a", "degrading", "50%")
        shown = await run("recovery", "show", "a")
        assert [one["error"] for one in shown.rows] == ["HTTP 500: injected fault"]
        assert "a: degrading" in shown.err
        assert (await run("recovery", "show", "a", "--json")).json["stats"]["failedRecoveries"] == 1
        assert "is reset" in (await run("recovery", "reset", "a")).err
        assert (await run("recovery", "show", "zz")).status == 1
