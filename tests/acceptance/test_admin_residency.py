"""Models in the fleet's memory: the fleet contract's checks 10, 15 and 38, and what is done about demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
from admin_api import admin, prompt

from orchestrator.testing.model_server import Model, ModelServer

GIGABYTE = 1_000_000_000
EMBEDDER = Model("nomic", size=GIGABYTE, capabilities=("embedding",))


def node(name: str, server: ModelServer, kind: str = "ollama", **more: Any) -> dict[str, Any]:
    return {"id": name, "url": server.url, "kind": kind, **more}


async def until(condition: Callable[[], Awaitable[Any]], timeout: float = 8.0) -> Any:
    """The first true answer."""
    async with asyncio.timeout(timeout):
        while not (found := await condition()):  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.02)
        return found


async def status(api: httpx2.AsyncClient, model: str) -> dict[str, Any]:
    answer = await api.get(f"/models/{model}/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bodies(server: ModelServer, path: str) -> list[dict[str, Any]]:
    return [one.body for one in server.requests if one.path == path]


async def test_warm_up_status_unload(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"], load_delay_ms=150.0) as a,
        ModelServer(["llama3", "ns/phi:4k"], load_delay_ms=150.0) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)]) as (running, api),
    ):
        await running.healthy(2)
        before = await status(api, "llama3")
        assert before["model"] == "llama3:latest"
        assert before["status"] == {
            "totalServers": 2,
            "loadedOn": 0,
            "loadingOn": 0,
            "notLoadedOn": 2,
            "failedOn": 0,
            "unknownOn": 0,
        }

        begun = (await api.post("/models/llama3/warmup", json={"servers": ["a"], "priority": "high"})).json()
        assert begun["success"] is True
        assert begun["jobs"][0]["serverId"] == "a"
        assert begun["jobs"][0]["status"] in ("queued", "loading")
        assert begun["jobs"][0]["estimatedTime"] is None  # nothing was measured yet
        assert begun["summary"] == {"totalServers": 1, "loadedOn": 0, "loadingOn": 1, "failedOn": 0}

        async def loaded() -> Any:
            found = await status(api, "llama3")
            return found if found["status"]["loadedOn"] == 1 and not found["status"]["loadingOn"] else None

        after = await until(loaded)
        assert after["servers"]["a"]["loaded"] is True
        assert after["servers"]["a"]["gpuMemory"] == 4000.0
        assert after["servers"]["a"]["loadTime"] >= 140
        assert after["servers"]["a"]["lastUsed"] is None  # a warm-up is no use
        assert after["servers"]["b"]["loaded"] is False
        assert a.loaded == ["llama3:latest"]
        assert bodies(a, "/api/generate") == [{"model": "llama3:latest", "prompt": "", "stream": False}]
        measured = running.service.fleet.nodes["a"].state.load_cost["llama3:latest"]
        assert measured >= 0.14  # placement knows what a load costs

        whole = (await api.get("/models/status")).json()
        assert whole["summary"]["totalServers"] == 2
        assert whole["summary"]["totalModels"] == 2
        assert whole["summary"]["loadedModels"] == 1
        assert whole["summary"]["averageLoadTime"] == round(measured * 1000)
        assert set(whole["models"]) == {"llama3:latest", "ns/phi:4k"}


async def test_estimates_are_measured_and_unloading(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"], load_delay_ms=150.0) as a,
        ModelServer(["llama3"], load_delay_ms=150.0) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)]) as (running, api),
    ):
        await running.healthy(2)
        await api.post("/models/llama3/warmup", json={"servers": ["a"]})
        await until(lambda: until_loaded(api, 1))
        measured = running.service.fleet.nodes["a"].state.load_cost["llama3:latest"]
        again = (await api.post("/models/llama3/warmup")).json()
        jobs = {job["serverId"]: job for job in again["jobs"]}
        assert jobs["a"]["status"] == "loaded"
        assert jobs["b"]["estimatedTime"] == round(measured * 1000)  # as measured on the other server
        await until(lambda: until_loaded(api, 2))

        gone = (await api.post("/models/llama3/unload", json={"serverId": "a"})).json()
        assert gone["results"] == [{"serverId": "a", "success": True}]
        assert gone["summary"] == {"totalServers": 1, "successfullyUnloaded": 1, "failed": 0}
        assert a.loaded == []
        everywhere = (await api.post("/models/llama3/unload")).json()
        assert everywhere["summary"]["totalServers"] == 1
        missing = await api.post("/models/llama3/unload")
        assert missing.status_code == 404
        assert "not loaded" in missing.json()["error"]


async def until_loaded(api: httpx2.AsyncClient, count: int) -> bool:
    found = await status(api, "llama3")
    return bool(found["status"]["loadedOn"] == count and not found["status"]["loadingOn"])


async def test_names_with_slashes_and_colons(tmp_path: Path) -> None:
    async with (
        ModelServer(["hf.co/ns/phi:4k"]) as a,
        admin(tmp_path, nodes=[node("a", a)]) as (running, api),
    ):
        await running.healthy(1)
        for path in ("hf.co/ns/phi:4k", "hf.co%2Fns%2Fphi:4k", "hf.co%2Fns%2Fphi%3A4k"):
            assert (await status(api, path))["model"] == "hf.co/ns/phi:4k"
        assert (await api.post("/models/hf.co%2Fns%2Fphi:4k/warmup")).status_code == 200
        await running.until(lambda: a.loaded == ["hf.co/ns/phi:4k"])
        assert (await api.get("/models")).json()["models"] == ["hf.co/ns/phi:4k"]  # still the list


async def test_a_warm_up_that_fails_says_why(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("status", status=500, message="model requires more system memory")
        assert (await api.post("/models/llama3/warmup")).status_code == 200

        async def failed() -> Any:
            found = await status(api, "llama3")
            return found if found["status"]["failedOn"] else None

        found = await until(failed)
        assert found["servers"]["a"]["failed"] is True
        assert found["servers"]["a"]["error"].startswith("HTTP 500")
        assert found["status"]["notLoadedOn"] == 0
        a.mode()
        await api.post("/models/llama3/warmup")
        await until(lambda: until_loaded(api, 1))
        assert (await status(api, "llama3"))["servers"]["a"]["error"] is None


async def test_one_load_at_a_time_on_a_server_and_cancelling(tmp_path: Path) -> None:
    async with (
        ModelServer(["one", "two"], load_delay_ms=60_000.0) as a,
        admin(tmp_path, nodes=[node("a", a)]) as (running, api),
    ):
        await running.healthy(1)
        first = (await api.post("/models/one/warmup")).json()["jobs"][0]
        await running.until(lambda: bodies(a, "/api/generate"))
        second = (await api.post("/models/two/warmup")).json()["jobs"][0]
        same = (await api.post("/models/two/warmup")).json()["jobs"][0]
        assert second["status"] == same["status"] == "queued"
        assert second["jobId"] == same["jobId"] != first["jobId"]
        assert [one["model"] for one in bodies(a, "/api/generate")] == ["one:latest"]

        other = (await api.post("/models/one/cancel", json={"jobId": second["jobId"]})).json()
        assert other["cancelled"] == 0
        ended = (await api.post("/models/one/cancel", json={"jobId": first["jobId"]})).json()
        assert ended["success"] is True
        assert ended["cancelled"] == 1
        await running.until(lambda: len(bodies(a, "/api/generate")) == 2)  # the second's turn
        assert (await api.post("/models/two/cancel")).json()["cancelled"] == 1
        assert (await api.post("/models/two/cancel")).json()["cancelled"] == 0
        assert (await status(api, "two"))["status"]["failedOn"] == 0


async def test_embedding_models_and_keep_alive(tmp_path: Path) -> None:
    models = {"keep_alive": "10m", "keep_alive_for": {"llama3": "forever"}}
    async with (
        ModelServer(["llama3", EMBEDDER]) as a,
        admin(tmp_path, nodes=[node("a", a)], models=models) as (running, api),
    ):
        await running.healthy(1)
        await api.post("/models/nomic/warmup")
        await running.until(lambda: "nomic:latest" in a.loaded)
        await api.post("/models/llama3/warmup")
        await running.until(lambda: "llama3:latest" in a.loaded)
        assert bodies(a, "/api/embed") == [{"model": "nomic:latest", "keep_alive": 600, "input": "warm-up"}]
        assert bodies(a, "/api/generate")[0]["keep_alive"] == -1
        changed = await api.patch("/config", json={"models.keep_alive": "30s"})
        assert changed.status_code == 200, changed.text
        await api.post("/models/nomic/warmup")
        await running.until(lambda: len(bodies(a, "/api/embed")) == 2)
        assert bodies(a, "/api/embed")[1]["keep_alive"] == 30


async def test_servers_that_do_not_load_on_demand(tmp_path: Path) -> None:
    async with (
        ModelServer(["gpt"], dialects=["openai"]) as a,
        admin(tmp_path, nodes=[node("a", a, "openai")]) as (running, api),
    ):
        await running.healthy(1)
        found = await status(api, "gpt")
        assert found["servers"]["a"]["loaded"] is None  # it does not tell, and nothing is guessed
        assert found["status"]["unknownOn"] == 1
        begun = (await api.post("/models/gpt/warmup")).json()
        assert begun["jobs"][0]["status"] == "not_applicable"
        assert (await api.post("/models/gpt/unload")).status_code == 404


async def test_wrong_questions(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        assert (await api.get("/models/nothing/status")).status_code == 404
        for path in ("warmup", "unload", "cancel"):
            assert (await api.post(f"/models/nothing/{path}")).status_code == 404
        assert (await api.post("/models/llama3/warmup", json={"servers": []})).status_code == 400
        assert (await api.post("/models/llama3/warmup", json={"servers": ["x"]})).status_code == 404
        assert (await api.post("/models/llama3/warmup", json={"priority": "urgent"})).status_code == 400
        assert (await api.post("/models/llama3/unload", json={"serverId": "x"})).status_code == 404
        assert (await api.get("/models/idle", params={"threshold": -1})).status_code == 400
        await a.kill()
        await running.until(lambda: not running.service.fleet.nodes["a"].healthy)
        assert (await api.post("/models/llama3/warmup")).status_code == 400


async def test_last_use_and_idle_models(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        assert (await api.get("/models/idle", params={"threshold": 0})).json()["models"] == []
        await api.post(f"{running.url}/api/generate", json=prompt())
        used = (await status(api, "llama3"))["servers"]["a"]["lastUsed"]
        assert abs(used - running.service.clock.wall() * 1000) < 5000
        idle = (await api.get("/models/idle", params={"threshold": 1})).json()
        assert idle["threshold"] == 1
        assert idle["count"] == 1
        assert idle["models"][0]["serverId"] == "a"
        assert idle["models"][0]["model"] == "llama3:latest"
        assert idle["models"][0]["idleTime"] >= 1
        assert idle["models"][0]["neverUsed"] is False
        assert (await api.get("/models/idle")).json()["models"] == []  # half an hour has not passed


async def test_fleet_stats(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3", "phi"]) as a,
        ModelServer(["llama3"]) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)]) as (running, api),
    ):
        await running.healthy(2)
        assert (await api.get("/models/fleet-stats")).json() == {
            "success": True,
            "totalServers": 2,
            "healthyServers": 2,
            "totalUniqueModels": 2,
            "popularModels": [
                {"name": "llama3:latest", "serverCount": 2, "percentage": 100, "servers": [a.url, b.url]},
                {"name": "phi:latest", "serverCount": 1, "percentage": 50, "servers": [a.url]},
            ],
        }


async def test_recommendations_come_from_measured_demand(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"], load_delay_ms=30.0) as a,
        admin(tmp_path, nodes=[node("a", a)]) as (running, api),
    ):
        await running.healthy(1)
        assert (await api.get("/models/recommendations")).json()["recommendations"] == []
        for _ in range(10):
            assert (await api.post(f"{running.url}/api/generate", json=prompt())).status_code == 200
            assert (await api.post("/models/llama3/unload")).status_code == 200
        found = (await api.get("/models/recommendations")).json()
        assert found["count"] == 1
        advice = found["recommendations"][0]
        assert advice["model"] == "llama3:latest"
        assert advice["kind"] == "cold_loads"
        assert advice["coldShare"] == 1.0
        assert advice["reason"].startswith("10 of 10 requests")


async def test_idle_models_are_unloaded_and_used_ones_are_not(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3", "phi"]) as a,
        admin(tmp_path, nodes=[node("a", a)], models={"unload_idle_after": "50ms"}) as (running, api),
    ):
        await running.healthy(1)
        a.mode("hang", model="phi")
        for model in ("llama3", "phi"):
            await api.post(f"/models/{model}/warmup")
        busy = asyncio.create_task(api.post(f"{running.url}/api/generate", json=prompt("phi")))
        await running.until(lambda: a.hanging == 1)
        await running.until(lambda: a.loaded == ["phi:latest"])
        a.release()
        assert (await busy).status_code == 200


async def test_expected_models_are_loaded_ahead_where_they_fit(tmp_path: Path) -> None:
    models = {"prewarm": True, "prewarm_rate": 0.5}
    async with (
        ModelServer(["llama3", "phi"]) as a,
        ModelServer(["llama3", "phi"]) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)], models=models) as (running, api),
    ):
        await running.healthy(2)
        for model in ("llama3", "phi"):
            await api.post(f"{running.url}/api/generate", json=prompt(model))
        assert sorted(len(server.loaded) for server in (a, b)) == [1, 1]
        watch = running.service.demand
        watch.look()
        (first,) = [server for server in (a, b) if server.loaded == ["llama3:latest"]]
        await first.kill()
        await first.restart()
        await running.until(lambda: all("llama3:latest" not in (one.state.loaded or ()) for one in nodes(running)))
        await running.until(lambda: len([one for one in nodes(running) if one.healthy]) == 2)

        watch.prewarm()

        await running.until(lambda: first.loaded == ["llama3:latest"])  # the other server has a model in use


async def test_what_a_role_may_do(tmp_path: Path) -> None:
    keys = [{"name": role, "key": f"a-long-key-of-{role}", "role": role} for role in ("viewer", "operator")]
    auth = {"enabled": True, "keys": keys}
    async with ModelServer(["llama3"]) as a, admin(tmp_path, nodes=[node("a", a)], auth=auth) as (running, api):
        await running.healthy(1)
        viewer = {"Authorization": "Bearer a-long-key-of-viewer"}
        operator = {"Authorization": "Bearer a-long-key-of-operator"}
        for path in ("status", "recommendations", "idle", "fleet-stats", "llama3/status"):
            assert (await api.get(f"/models/{path}")).status_code == 401
            assert (await api.get(f"/models/{path}", headers=viewer)).status_code == 200
        for path in ("warmup", "cancel"):
            assert (await api.post(f"/models/llama3/{path}", headers=viewer)).status_code == 403
            assert (await api.post(f"/models/llama3/{path}", headers=operator)).status_code == 200


def nodes(running: Any) -> list[Any]:
    return list(running.service.fleet.nodes.values())
