"""Tools that make requests, call functions and run containers, through the API of a running service."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from docker_engine import STDOUT, Container, docker_engine
from service import RunningService, running_service
from web_stub import Page, Sent, web_stub

ADMIN = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


@asynccontextmanager
async def served(tmp_path: Path, **tools: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service({**ADMIN, "tools": tools}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=30, trust_env=False) as http,
    ):
        yield running, http


async def registered(http: httpx2.AsyncClient, name: str, kind: str, binding: dict[str, Any], **more: Any) -> None:
    execution = {"kind": kind, "binding": binding, **more.pop("execution", {})}
    answer = await http.post("/tools/", json={"name": name, "category": "c", "execution": execution, **more})
    assert answer.status_code == 200, answer.text


async def called(http: httpx2.AsyncClient, name: str, **arguments: Any) -> dict[str, Any]:
    answer = await http.post(f"/api/v1/tools/{name}/call", json={"arguments": arguments})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_tool_on_a_node_is_tried_again_with_the_same_key(tmp_path: Path) -> None:
    def answer(sent: Sent) -> Page:
        return Page(503) if len(server.sent) == 1 else Page(body=b'{"temperature": 21}')

    async with web_stub(answer) as server, served(tmp_path, hosts=["127.0.0.1"]) as (_, http):
        node = {"node_type": "TOOL_EXECUTOR", "address": server.url, "status": "ACTIVE"}
        node_id = (await http.post("/nodes/", json=node)).json()["node_id"]
        binding = {"path": "/weather/{city}", "method": "GET", "result": "/temperature"}
        await registered(http, "weather", "http", binding, target_node_id=node_id, execution={"attempts": 2})
        call = await called(http, "weather", city="Bern")
        assert (call["state"], call["result"], call["attempts"]) == ("SUCCEEDED", 21, 2)
        assert {sent.headers["idempotency-key"] for sent in server.sent} == {call["call_id"]}
        await http.put(f"/nodes/{node_id}", json={"status": "MAINTENANCE"})
        call = await called(http, "weather", city="Bern")
        assert (call["state"], call["error"]["code"]) == ("FAILED", "tool_crashed")


async def test_a_host_that_is_left_alone_is_shown(tmp_path: Path) -> None:
    async with (
        web_stub(Page(500)) as bad,
        web_stub(Page(body=b"1")) as good,
        served(tmp_path, hosts=["127.0.0.1"]) as (_, http),
    ):
        assert (await http.get("/api/v1/tool-hosts")).json()["hosts"] == []
        for name, server in (("bad", bad), ("good", good)):
            await registered(http, name, "http", {"url": server.url, "method": "GET"})
        await called(http, "good")
        while "too often" not in (await called(http, "bad"))["error"]["message"]:
            assert len(bad.sent) < 20
        told = (await http.get("/api/v1/tool-hosts")).json()
        names = [f"127.0.0.1:{server.port}" for server in (bad, good)]
        assert ([one["host"] for one in told["hosts"]], told["total"]) == (names, 2)
        assert [one["state"] for one in told["hosts"]] == ["open", "closed"]
        assert told["hosts"][0]["time_left"] > 0
        assert "500" in told["hosts"][0]["last_failure"]
        metrics = (await http.get("/metrics")).text
        for name, state in zip(names, ("open", "closed"), strict=True):
            assert f'orchestrator_tool_host_breaker_state{{host="{name}",state="{state}"}} 1.0' in metrics


async def test_an_answer_becomes_an_artifact(tmp_path: Path) -> None:
    page = Page(body=b"\x89PNG...", headers={"Content-Type": "image/png"})
    async with web_stub(page) as server, served(tmp_path, hosts=["127.0.0.1"]) as (_, http):
        await registered(http, "map", "http", {"url": f"{server.url}/map.png", "method": "GET", "response": "binary"})
        call = await called(http, "map")
        (artifact,) = call["artifacts"]
        content = await http.get(f"/api/v1/artifacts/{artifact}/content")
        assert (content.content, content.headers["content-type"]) == (page.body, "image/png")
        assert "map.png" in content.headers["content-disposition"]


async def test_what_the_operator_allows_may_change_while_it_runs(tmp_path: Path) -> None:
    async with web_stub(Page(body=b"1")) as server, served(tmp_path) as (_, http):
        headers = {"Authorization": "Bearer secret:KEY"}
        await registered(http, "one", "http", {"url": server.url, "headers": headers})
        call = await called(http, "one")
        assert "tools.hosts" in call["error"]["message"] or "tools.secrets" in call["error"]["message"]
        assert not server.sent
        change = {"hosts": ["127.0.0.1"], "secrets": {"KEY": {"value": "hush-hush", "hosts": ["127.0.0.1"]}}}
        answer = await http.patch("/api/orchestrator/config/tools", json=change)
        assert answer.status_code == 200, answer.text
        assert "hush-hush" not in answer.text
        assert (await called(http, "one"))["result"] == 1
        assert server.sent[0].headers["authorization"] == "Bearer hush-hush"
        for path in (
            "/api/orchestrator/config",
            "/api/orchestrator/config/history",
            "/api/v1/tools/one",
            "/api/v1/tool-calls",
        ):
            assert "hush-hush" not in (await http.get(path)).text
        await http.patch("/api/orchestrator/config/tools", json={"hosts": []})
        assert (await called(http, "one"))["state"] == "FAILED"


async def test_functions_are_listed_beside_the_registrys_tools(tmp_path: Path) -> None:
    (tmp_path / "our_functions.py").write_text("def shout(text: str) -> str:\n    return text.upper()\n")
    function = {
        "function": "our_functions:shout",
        "description": "Shouts.",
        "side_effect": "read",
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "environment": {"PYTHONPATH": str(tmp_path)},
    }
    async with served(tmp_path, functions={"shout": function}) as (_, http):
        (tool,) = (await http.get("/api/v1/tools", params={"source": "config"})).json()["tools"]
        assert (tool["name"], tool["description"], tool["execution"]["kind"]) == ("shout", "Shouts.", "python")
        assert (await http.get("/tools/")).json() == []
        assert (await called(http, "shout", text="quiet"))["result"] == "QUIET"
        wrong = await http.post("/api/v1/tools/shout/call", json={"arguments": {}})
        assert wrong.status_code == 422, wrong.text


async def test_a_container_lives_as_long_as_its_call(tmp_path: Path) -> None:
    async def program(container: Container) -> int:
        given = await container.read()
        if b"wait" in given:
            await asyncio.sleep(600)
        await container.write(STDOUT, given)
        return 0

    with tempfile.TemporaryDirectory() as folder:
        async with docker_engine(Path(folder), {"box:1": program}) as (host, engine):
            async with served(tmp_path, images=[{"image": "box:*"}], docker_host=host) as (running, http):
                await registered(http, "box", "container", {"image": "box:1"})
                assert (await called(http, "box", a=[1]))["result"] == {"a": [1]}
                body = {"arguments": {"mode": "wait"}, "wait": 0}
                begun = await http.post("/api/v1/tools/box/call", json=body)
                assert begun.status_code == 202, begun.text
                await running.until(engine.running)
                call_id = begun.json()["call_id"]
                assert (await http.post(f"/api/v1/tool-calls/{call_id}/cancel")).status_code == 200
                await running.until(lambda: not engine.containers)
                answer = await http.get(f"/api/v1/tool-calls/{call_id}", params={"wait": 10})
                assert answer.json()["call"]["state"] == "CANCELLED"
                late = await http.post("/api/v1/tools/box/call", json={"arguments": {"mode": "wait"}, "timeout": 0.5})
                assert (late.json()["state"], late.json()["error"]["code"]) == ("FAILED", "tool_timeout")
                await running.until(lambda: not engine.containers)
                (label,) = {body["Labels"]["orchestrator.installation"] for body in engine.created}
            labels = {"orchestrator.installation": label, "orchestrator.ends": "99999999999"}
            engine.containers["left"] = Container("left", "left", {"Labels": labels, "Tty": False}, program)
            async with served(tmp_path, images=[{"image": "box:*"}], docker_host=host) as (running, _):
                await running.until(lambda: "left" in engine.removed)


async def test_a_service_that_stops_leaves_no_container(tmp_path: Path) -> None:
    async def program(container: Container) -> int:
        await asyncio.sleep(600)
        return 0

    with tempfile.TemporaryDirectory() as folder:
        async with docker_engine(Path(folder), {"box:1": program}) as (host, engine):
            async with served(tmp_path, images=[{"image": "box:*"}], docker_host=host) as (running, http):
                await registered(http, "box", "container", {"image": "box:1"})
                await http.post("/api/v1/tools/box/call", json={"arguments": {}, "wait": 0})
                await running.until(engine.running)
            assert not engine.containers


async def test_without_docker_a_call_says_so(tmp_path: Path) -> None:
    async with served(tmp_path, images=[{"image": "box:*"}], docker_host=f"unix://{tmp_path}/no.sock") as (_, http):
        await registered(http, "box", "container", {"image": "box:1"})
        call = await called(http, "box")
        assert (call["error"]["code"], "Docker" in call["error"]["message"]) == ("tool_crashed", True)
