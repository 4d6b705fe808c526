"""Pulling, copying, creating and deleting models over the fleet (fleet contract 1.5), and the jobs that do it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
from admin_api import admin, prompt

from orchestrator.testing.model_server import Model, ModelServer
from service import RunningService

PULL = "/api/pull"
GIGABYTE = 1_000_000_000


def node(name: str, server: ModelServer, kind: str = "ollama", **more: Any) -> dict[str, Any]:
    return {"id": name, "url": server.url, "kind": kind, **more}


def asked(server: ModelServer, path: str = PULL) -> list[dict[str, Any]]:
    return [one.body for one in server.requests if one.path == path]


async def events(api: httpx2.AsyncClient, method: str, path: str, **body: Any) -> list[dict[str, Any]]:
    async with api.stream(method, path, json=body or None) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = (await answer.aread()).decode()
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def job(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/models/jobs/{job_id}")).json()["job"]
    return found


async def ended(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    await events(api, "GET", f"/models/jobs/{job_id}/events")
    return await job(api, job_id)


async def begun(api: httpx2.AsyncClient, path: str = "/servers/a/models/pull", **body: Any) -> dict[str, Any]:
    answer = await api.post(path, json={"model": "new", "wait": False, **body})
    assert answer.status_code == 202, answer.text
    [found] = answer.json()["jobs"]
    return dict(found)


def slow(*servers: ModelServer, lines: float = 8.0) -> None:
    for server in servers:
        server.mode(path=PULL, kind="ok", tokens_per_second=lines)


async def two(running: RunningService) -> None:
    await running.healthy(2)


# On one server


async def test_a_pull_waits_for_its_end(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        answer = await api.post("/servers/a/models/pull", json={"model": "  Llama3 / X "})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["success"], told["serverId"], told["model"]) == (True, "a", "llama3/x")
        assert told["message"]
        assert told["details"] == {"status": "success"}
        assert asked(a) == [{"model": "llama3/x", "stream": True}]
        rows = (await api.get("/servers/a/models")).json()
        assert {row["name"] for row in rows["models"]} == {"x:latest", "llama3/x:latest"}
        assert set(rows["models"][0]) >= {"name", "modified_at", "size", "digest"}
        assert (rows["serverId"], rows["serverUrl"], rows["count"]) == ("a", a.url, 2)
        # The catalogue knows it at once.
        listed = (await api.get("/model-map")).json()["modelToServers"]
        assert listed["llama3/x:latest"] == ["a"]


async def test_a_pull_streams_its_progress(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        slow(a, lines=20)
        *progress, last = await events(api, "POST", "/servers/a/models/pull", model="new", stream=True)
        assert {one["type"] for one in progress} == {"progress"}
        assert last["type"] == "complete"
        assert (last["serverId"], last["model"]) == ("a", "new")
        shares = [one["percent"] for one in progress if one["percent"] is not None]
        assert shares == sorted(shares)
        assert {25.0, 50.0, 75.0} <= set(shares)
        assert any(one["total"] == 4 * GIGABYTE and one["completed"] == GIGABYTE for one in progress)


async def test_a_pull_that_fails_streams_the_error(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("error_body_200", message="pull model manifest: file does not exist", path=PULL)
        found = await events(api, "POST", "/servers/a/models/pull", model="new", stream=True)
        assert found[-1]["type"] == "error"
        assert "file does not exist" in found[-1]["error"]


async def test_a_job_is_answered_at_once_and_goes_on(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        slow(a)
        one = await begun(api, insecure=True)
        assert one["status"] in ("queued", "running")
        assert one["endedAt"] is None
        again = await begun(api, insecure=True)  # the same is not done twice
        assert again["id"] == one["id"]
        done = await ended(api, one["id"])
        assert (done["status"], done["serverId"], done["tries"], done["percent"]) == ("succeeded", "a", 1, 100.0)
        assert done["createdAt"] <= done["startedAt"] <= done["endedAt"]
        assert asked(a) == [{"insecure": True, "model": "new", "stream": True}]


async def test_a_client_that_leaves_takes_nothing_with_it(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        slow(a)
        body = {"model": "new", "stream": True}
        async with api.stream("POST", "/servers/a/models/pull", json=body) as answer:
            async for line in answer.aiter_lines():
                if '"completed": 1' in line:
                    break
        [one] = (await api.get("/models/jobs")).json()["jobs"]
        assert one["status"] == "running"
        assert (await ended(api, one["id"]))["status"] == "succeeded"
        assert len(asked(a)) == 1


async def test_a_node_that_breaks_is_asked_again(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("cut", after=3, path=PULL, times=1)
        a.mode("eof", after=3, path=PULL, times=1)
        a.mode("status", status=500, message="max retries exceeded: unexpected EOF", path=PULL, times=1)
        answer = await api.post("/servers/a/models/pull", json={"model": "new"})
        assert answer.status_code == 200, answer.text
        [done] = answer.json()["jobs"]
        assert (done["status"], done["tries"], done["error"]) == ("succeeded", 4, None)


async def test_what_the_registry_does_not_have_is_not_asked_for_again(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("error_body_200", message="pull model manifest: file does not exist", path=PULL)
        answer = await api.post("/servers/a/models/pull", json={"model": "new"})
        assert answer.status_code == 502, answer.text
        assert answer.json()["error"] == "pull model manifest: file does not exist"
        assert (answer.json()["success"], answer.json()["serverId"]) == (False, "a")
        assert len(asked(a)) == 1


async def test_patience_ends_and_is_changed_while_a_job_runs(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("status", status=500, message="busy", path=PULL)
        one = await begun(api)
        changed = await api.patch("/config/models", json={"job_patience": 0.5})
        assert changed.status_code == 200, changed.text
        done = await ended(api, one["id"])
        assert (done["status"], done["error"]) == ("failed", "busy")
        assert done["tries"] >= 1
        assert (await api.patch("/config/models", json={"job_patience": 0})).status_code == 400


async def test_wrong_servers_and_bodies(tmp_path: Path) -> None:
    async with (
        ModelServer(["x"]) as a,
        ModelServer(["y"], dialects=["openai"]) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b, "openai")]) as (running, api),
    ):
        dead = ModelServer(["z"])
        await dead.start()
        await api.post("/servers/add", json={"id": "d", "url": dead.url, "type": "ollama"})
        await running.until(lambda: running.service.fleet.nodes["d"].healthy)
        await dead.kill()
        await running.until(lambda: not running.service.fleet.nodes["d"].healthy)
        for path in ("models/pull", "models/copy", "models/create"):
            body = {"model": "new", "from": "x"} if path.endswith("create") else {"model": "x"}
            for server, status in (("none", 404), ("d", 503), ("b", 400)):
                answer = await api.post(f"/servers/{server}/{path}", json=body)
                assert (server, path, answer.status_code) == (server, path, status), answer.text
                assert answer.json()["error"]
        for server, status in (("none", 404), ("d", 503), ("b", 400)):
            assert (await api.get(f"/servers/{server}/models")).status_code == status
            assert (await api.delete(f"/servers/{server}/models/x")).status_code == status
        bad: tuple[Any, ...] = ({}, {"model": ""}, {"model": 1}, {"model": "a\0"}, {"model": "m", "unknown": 1}, [])
        for wrong in bad:
            assert (await api.post("/servers/a/models/pull", json=wrong)).status_code == 400, wrong
        for wrong in ({"model": "m", "count": 0}, {"model": "m", "servers": "a"}, {"model": "m", "servers": [1]}):
            assert (await api.post("/models/pull", json=wrong)).status_code == 400, wrong
        assert (await api.post("/models/pull", json={"model": "m", "servers": ["none"]})).status_code == 404
        assert (await api.get("/models/jobs")).json()["total"] == 0


# Where there is room


async def test_placement_takes_the_server_with_room(tmp_path: Path) -> None:
    async with (
        ModelServer([Model("big", size=30 * GIGABYTE)]) as a,
        ModelServer([Model("small", size=2 * GIGABYTE)]) as b,
        ModelServer(["other"]) as c,
        ModelServer(["other"]) as d,
        admin(
            tmp_path,
            nodes=[
                node("a", a, labels={"disk_gb": "32"}),
                node("b", b, labels={"disk_gb": "100"}),
                node("c", c, labels={"disk_gb": "20"}),
                node("d", d, labels={"disk_gb": "10"}),
            ],
        ) as (running, api),
    ):
        await running.healthy(4)
        first = (await api.post("/models/pull", json={"model": "new"})).json()
        assert first["serverId"] == "b"  # 98 GB are free there
        second = (await api.post("/models/pull", json={"model": "new"})).json()
        assert second["serverId"] == "c"  # b has it; a has not the room: 2 GB, and it needs 4
        among = (await api.post("/models/pull", json={"model": "more", "servers": ["a", "c"]})).json()
        assert among["serverId"] == "c"
        # a has it, c and d have no room for it: it is not begun there.
        full = await api.post("/models/pull", json={"model": "big", "servers": ["c", "d"]})
        assert full.status_code == 503, full.text
        assert (await api.post("/models/pull", json={"model": "big", "servers": ["a", "c"]})).json()["serverId"] == "a"


async def test_placement_spreads_over_servers(tmp_path: Path) -> None:
    async with (
        ModelServer(["x"]) as a,
        ModelServer(["x"]) as b,
        ModelServer(["x"]) as c,
        admin(tmp_path, nodes=[node("a", a), node("b", b), node("c", c)]) as (running, api),
    ):
        await running.healthy(3)
        slow(a, b, c, lines=20)
        both = (await api.post("/models/pull", json={"model": "new", "count": 2})).json()
        assert len({one["serverId"] for one in both["jobs"]}) == 2
        assert {one["status"] for one in both["jobs"]} == {"succeeded"}
        more = await api.post("/models/pull", json={"model": "new", "count": 2})
        assert more.status_code == 409
        jobs = [await begun(api, "/models/pull", model=f"m{number}") for number in range(3)]
        assert {one["serverId"] for one in jobs} == {"a", "b", "c"}  # to who pulls least
        for one in jobs:
            assert (await ended(api, one["id"]))["status"] == "succeeded"


async def test_a_full_disk_sends_the_job_on(tmp_path: Path) -> None:
    async with (
        ModelServer(["x"]) as a,
        ModelServer(["x"]) as b,
        admin(tmp_path, nodes=[node("a", a, labels={"disk_gb": "900"}), node("b", b)]) as (running, api),
    ):
        await two(running)
        a.mode("status", status=500, message="write /models/blobs: no space left on device", path=PULL)
        told = (await api.post("/models/pull", json={"model": "new"})).json()
        assert (told["success"], told["serverId"]) == (True, "b")
        assert (len(asked(a)), len(asked(b))) == (1, 1)
        b.mode("status", status=500, message="no space left on device", path=PULL)
        nowhere = await api.post("/models/pull", json={"model": "newer"})
        assert nowhere.status_code == 502
        assert "a: write" in nowhere.json()["error"]
        assert "b: no space" in nowhere.json()["error"]
        named = await api.post("/servers/a/models/pull", json={"model": "newest"})
        assert named.status_code == 502  # only there: no other is asked
        assert len(asked(b)) == 2


async def test_no_server_at_all(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        answer = await api.post("/models/pull", json={"model": "new"})
        assert answer.status_code == 503
        assert answer.json()["error"]


# Other changes


async def test_delete_drops_the_model_and_its_breaker(tmp_path: Path) -> None:
    async with ModelServer(["ns/x:1b", "y"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        root = str(api.base_url).partition("/api/")[0]
        async with httpx2.AsyncClient(timeout=20) as client:
            assert (await client.post(f"{root}/api/generate", json=prompt("ns/x:1b"))).status_code == 200
        assert (await api.post("/circuit-breakers/a/ns%2Fx:1b/open")).status_code == 200
        answer = await api.delete("/servers/a/models/ns%2FX:1b")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["serverId"], answer.json()["model"]) == ("a", "ns/x:1b")
        assert [row["name"] for row in (await api.get("/servers/a/models")).json()["models"]] == ["y:latest"]
        keys = [one["model"] for one in (await api.get("/circuit-breakers")).json()["circuitBreakers"]]
        assert "ns/x:1b" not in keys
        assert (await api.delete("/servers/a/models/ns%2Fx:1b")).status_code == 404


async def test_copy_from_a_server_and_to_another_name(tmp_path: Path) -> None:
    async with (
        ModelServer(["x"]) as a,
        ModelServer(["y"]) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)]) as (running, api),
    ):
        await two(running)
        path = "/servers/b/models/copy"
        missing = await api.post(path, json={"model": "x", "sourceServerId": "none"})
        assert missing.status_code == 404
        absent = await api.post(path, json={"model": "z", "sourceServerId": "a"})
        assert absent.status_code == 400
        assert (await api.post(path, json={"model": "z"})).status_code == 400
        copied = await api.post(path, json={"model": "X", "sourceServerId": "a"})
        assert copied.status_code == 200, copied.text
        assert copied.json()["jobs"][0]["kind"] == "copy"
        assert [one["model"] for one in asked(b)] == ["x"]
        renamed = await api.post(path, json={"model": "y", "destination": "Mine:1"})
        assert (renamed.status_code, renamed.json()["model"]) == (200, "mine:1")
        names = {row["name"] for row in (await api.get("/servers/b/models")).json()["models"]}
        assert names == {"x:latest", "y:latest", "mine:1"}
        assert (await api.post(path, json={"model": "none", "destination": "m"})).status_code == 404


async def test_create(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        body = {"model": "Mine", "from": "x", "system": "You are brief.", "parameters": {"temperature": 0}}
        answer = await api.post("/servers/a/models/create", json=body)
        assert answer.status_code == 200, answer.text
        assert asked(a, "/api/create") == [{**body, "model": "mine", "stream": True}]
        assert (await api.post("/servers/a/models/create", json={"model": "m"})).status_code == 400
        refused = await api.post("/servers/a/models/create", json={"model": "m", "from": "none"})
        assert refused.status_code == 502
        assert "none" in refused.json()["error"]
        strange = await api.post("/servers/a/models/create", json={"model": "m", "from": "x", "system": "\0"})
        assert strange.status_code == 400


# Jobs


async def test_jobs_are_listed_by_pages_and_filters(tmp_path: Path) -> None:
    async with (
        ModelServer(["x"]) as a,
        ModelServer(["y"]) as b,
        admin(tmp_path, nodes=[node("a", a), node("b", b)]) as (running, api),
    ):
        await two(running)
        for number in range(3):
            await api.post("/servers/a/models/pull", json={"model": f"m{number}"})
        await api.post("/servers/b/models/copy", json={"model": "x"})
        b.mode("status", status=404, message="not found", path=PULL)
        await api.post("/servers/b/models/pull", json={"model": "none"})

        async def found(**query: Any) -> list[str]:
            answer = await api.get("/models/jobs", params=query)
            assert answer.status_code == 200, answer.text
            return [one["model"] for one in answer.json()["jobs"]]

        assert await found() == ["none", "x", "m2", "m1", "m0"]
        page = (await api.get("/models/jobs", params={"limit": 2, "offset": 2})).json()
        assert [one["model"] for one in page["jobs"]] == ["m2", "m1"]
        assert (page["count"], page["total"], page["limit"], page["offset"]) == (2, 5, 2, 2)
        assert await found(status="failed") == ["none"]
        assert await found(status="failed,succeeded", server="b") == ["none", "x"]
        assert await found(kind="copy") == ["x"]
        assert await found(model="m1") == ["m1"]
        for wrong in ({"status": "lost"}, {"kind": "push"}, {"limit": 0}, {"offset": -1}):
            assert (await api.get("/models/jobs", params=wrong)).status_code == 400, wrong
        assert (await api.get("/models/jobs/none")).status_code == 404
        assert (await api.get("/models/jobs/none/events")).status_code == 404


async def test_cancel_and_retry(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("hang_mid", after=2, path=PULL, times=1)
        waiting = asyncio.create_task(api.post("/servers/a/models/pull", json={"model": "new"}))
        await a.wait_for(lambda seen: seen.hanging == 1)
        [one] = (await api.get("/models/jobs")).json()["jobs"]
        assert (await api.post(f"/models/jobs/{one['id']}/retry")).status_code == 409
        gone = await api.post(f"/models/jobs/{one['id']}/cancel")
        assert (gone.status_code, gone.json()["job"]["status"]) == (200, "cancelled")
        assert (await waiting).status_code == 409
        await a.wait_for(lambda seen: seen.in_flight == 0)  # the node was told
        assert (await api.post(f"/models/jobs/{one['id']}/cancel")).status_code == 409
        again = await api.post(f"/models/jobs/{one['id']}/retry")
        assert again.status_code == 202
        assert again.json()["job"]["id"] != one["id"]
        assert (await ended(api, again.json()["job"]["id"]))["status"] == "succeeded"
        for act in ("cancel", "retry"):
            assert (await api.post(f"/models/jobs/none/{act}")).status_code == 404


async def test_a_server_works_on_two_jobs_at_once(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, admin(tmp_path, nodes=[node("a", a)]) as (running, api):
        await running.healthy(1)
        a.mode("hang_mid", after=2, path=PULL)
        jobs = [await begun(api, model=f"m{number}") for number in range(3)]
        await a.wait_for(lambda seen: seen.hanging == 2)
        assert (await job(api, jobs[2]["id"]))["status"] == "queued"
        a.mode(path=PULL, kind="ok")
        a.release()
        for one in jobs:
            assert (await ended(api, one["id"]))["status"] == "succeeded"


async def test_only_who_may_write_changes_anything(tmp_path: Path) -> None:
    keys = [
        {"name": "viewer", "key": "test-viewer-key-1", "role": "viewer"},
        {"name": "operator", "key": "test-operator-key-1", "role": "operator"},
    ]
    async with (
        ModelServer(["x"]) as a,
        admin(tmp_path, nodes=[node("a", a)], auth={"enabled": True, "keys": keys}) as (running, api),
    ):
        await running.healthy(1)
        viewer = {"Authorization": "Bearer test-viewer-key-1"}
        operator = {"Authorization": "Bearer test-operator-key-1"}
        for path in ("/models/pull", "/servers/a/models/pull", "/servers/a/models/copy", "/servers/a/models/create"):
            assert (await api.post(path, json={"model": "new"}, headers=viewer)).status_code == 403, path
            assert (await api.post(path, json={"model": "new"})).status_code == 401, path
        assert (await api.delete("/servers/a/models/x", headers=viewer)).status_code == 403
        for act in ("cancel", "retry"):
            assert (await api.post(f"/models/jobs/x/{act}", headers=viewer)).status_code == 403
        assert (await api.get("/models/jobs", headers=viewer)).status_code == 200
        done = await api.post("/servers/a/models/pull", json={"model": "new"}, headers=operator)
        assert done.json()["jobs"][0]["createdBy"] == "operator"
        assert asked(a, "/api/delete") == []
