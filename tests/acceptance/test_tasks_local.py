"""Task types that the service runs itself: inference through the gateway, HTTP requests, the operator's functions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service
from stub_node import ACCEPTS, DONE, stub_node

CHAT = {"model": "llama3", "prompt": "Hello"}
FUNCTIONS = """
import asyncio, os, time

def double(given):
    print("on standard output")
    return {"twice": given["number"] * 2, "process": os.getpid()}

async def later(given):
    await asyncio.sleep(0.01)
    return given

def refuse(given):
    raise ValueError("not today")

def sleep(given):
    open(given["file"], "w").write(str(os.getpid()))
    time.sleep(60)

def vanish(given):
    os._exit(3)

def strange(given):
    return object()
"""


class Api:
    def __init__(self, client: httpx2.AsyncClient, running: RunningService) -> None:
        self.client = client
        self.running = running

    async def ok(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def submit(self, task_type: str, given: Any = None, **body: Any) -> str:
        answer = await self.ok("POST", "/tasks", {"task_type": task_type, "input_data": given, **body})
        return str(answer["task_id"])

    async def until(self, task_id: str, *states: str) -> dict[str, Any]:
        task: dict[str, Any] = {}
        try:
            async with asyncio.timeout(10):
                while True:
                    task = (await self.ok("GET", f"/tasks/{task_id}"))["task"]
                    if task["state"] in states:
                        return task
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not {states}: {task}") from None

    async def ended(self, task_type: str, given: Any = None, **body: Any) -> dict[str, Any]:
        task = await self.submit(task_type, given, **{"max_retries": 0, **body})
        return await self.until(task, "completed", "failed", "timeout")

    async def nodes(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ok("GET", "/nodes"))["nodes"]
        return found


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[Api]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20, trust_env=False) as client,
    ):
        yield Api(client, running)


@asynccontextmanager
async def with_model(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[Api, ModelServer]]:
    async with (
        ModelServer(["llama3"], reply="Good day") as server,
        api(tmp_path, nodes=[{"id": "gpu", "url": server.url}], **config) as served,
    ):
        await served.running.healthy(1)
        yield served, server


# Inference


@pytest.mark.parametrize("task_type", ["inference", "ai_inference"])
async def test_an_inference_task_has_the_answer_of_a_model(tmp_path: Path, task_type: str) -> None:
    async with with_model(tmp_path) as (served, server):
        task = await served.ended(task_type, {**CHAT, "max_tokens": 5, "stream": True})
        assert task["state"] == "completed", task
        assert task["node_id"] == "local"
        assert task["result_data"]["choices"][0]["message"]["role"] == "assistant"
        assert task["result_data"]["usage"]["completion_tokens"] > 0
        assert any(one.path.endswith(("/chat", "/chat/completions")) for one in server.requests)
        by_messages = await served.ended(
            task_type, {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}
        )
        assert by_messages["state"] == "completed"
        local = (await served.nodes())["local"]
        assert (local["mode"], local["max_concurrency"]) == ("local", 16)
        assert {"inference", "ai_inference"} <= set(local["capabilities"])
        assert (await served.ok("GET", "/nodes/local"))["node"]["tasks_completed"] == 2


async def test_the_guides_task_without_a_model_takes_the_settings(tmp_path: Path) -> None:
    async with with_model(tmp_path, tasks={"model": "llama3"}) as (served, _):
        assert (await served.ended("ai_inference", {"prompt": "Hello"}))["state"] == "completed"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, "input_data"),
        ({"prompt": "Hello"}, "input_data.model"),
        ({"model": "llama3"}, "messages"),
        ({"model": "nowhere", "prompt": "Hello"}, "nowhere"),
    ],
)
async def test_a_wrong_inference_task_fails_at_once(tmp_path: Path, given: Any, error: str) -> None:
    async with with_model(tmp_path) as (served, _):
        task = await served.ended("inference", given, max_retries=3)
        assert task["state"] == "failed"
        assert error in task["error_message"]
        assert task["attempt"] == 1


async def test_a_node_that_names_the_type_goes_first(tmp_path: Path) -> None:
    async with with_model(tmp_path) as (served, server), stub_node(DONE) as node:
        body = {"host": "127.0.0.1", "port": node.port, "capabilities": ["ai_inference"]}
        await served.ok("POST", "/nodes/n/register", body)
        before = len(server.requests)
        assert (await served.ended("ai_inference", CHAT))["node_id"] == "n"
        assert (await served.ended("inference", CHAT))["node_id"] == "local"
        await served.ok("DELETE", "/nodes/n")
        assert (await served.ended("ai_inference", CHAT))["node_id"] == "local"
        assert len(server.requests) > before


async def test_a_node_for_everything_gets_no_inference(tmp_path: Path) -> None:
    async with with_model(tmp_path) as (served, _), stub_node(DONE) as node:
        await served.ok("POST", "/nodes/n/register", {"host": "127.0.0.1", "port": node.port})
        for _ in range(5):
            assert (await served.ended("inference", CHAT))["node_id"] == "local"
        assert (await served.ended("work"))["node_id"] == "n"


async def test_without_model_servers_inference_waits_for_a_node(tmp_path: Path) -> None:
    async with api(tmp_path) as served:
        task = await served.submit("ai_inference", CHAT)
        assert (await served.ok("GET", f"/tasks/{task}/explain"))["reason"] == "no node is registered"
        assert await served.nodes() == {}


async def test_a_cancelled_inference_leaves_its_model_server(tmp_path: Path) -> None:
    async with with_model(tmp_path) as (served, server):
        assert (await served.ended("inference", CHAT))["state"] == "completed"  # a load outlives who asked for it
        server.mode("hang")
        task = await served.submit("inference", CHAT)
        await server.wait_for(lambda one: one.hanging == 1)
        await served.ok("POST", f"/tasks/{task}/cancel")
        await server.wait_for(lambda one: one.hanging == 0)
        assert (await served.until(task, "cancelled"))["error_message"]
        await served.running.until(lambda: not served.running.service.gateway.active)


async def test_a_timeout_ends_an_inference(tmp_path: Path) -> None:
    async with with_model(tmp_path) as (served, server):
        server.mode("hang")
        task = await served.ended("inference", CHAT, timeout=0.3)
        assert task["state"] == "timeout"
        await served.running.until(lambda: not served.running.service.gateway.active)


async def test_the_service_itself_is_not_registered(tmp_path: Path) -> None:
    async with api(tmp_path) as served:
        for method, path, body in (
            ("POST", "/nodes/local/register", {"host": "h"}),
            ("POST", "/nodes/local/heartbeat", {}),
            ("PUT", "/nodes/local/status", {"status": "maintenance"}),
            ("DELETE", "/nodes/local", None),
        ):
            answer = await served.client.request(method, path, json=body)
            assert answer.status_code == 409, answer.text
        answer = await served.client.post("/nodes/n/register", json={"mode": "local"})
        assert answer.status_code == 400


async def test_no_slots_is_no_worker(tmp_path: Path) -> None:
    async with with_model(tmp_path, tasks={"local_slots": 0}) as (served, _):
        task = await served.submit("inference", CHAT)
        assert "local" not in await served.nodes()
        assert (await served.ok("GET", f"/tasks/{task}"))["task"]["status"] == "pending"


# HTTP


async def test_http_tasks_are_off_without_hosts(tmp_path: Path) -> None:
    async with api(tmp_path) as served:
        task = await served.ended("http", {"url": "http://127.0.0.1/"}, max_retries=3)
        assert task["state"] == "failed"
        assert "tasks.http_hosts" in task["error_message"]
        assert task["attempt"] == 1
        assert "local" not in await served.nodes()


async def test_an_http_task_has_the_answer(tmp_path: Path) -> None:
    async with stub_node((201, {"made": True})) as server, api(tmp_path, tasks={"http_hosts": ["127.0.0.1"]}) as served:
        given = {
            "url": f"http://127.0.0.1:{server.port}/x?y=1",
            "method": "post",
            "headers": {"X-A": "b"},
            "body": {"a": 1},
        }
        task = await served.ended("http", given)
        assert task["state"] == "completed", task
        assert task["result_data"]["status"] == 201
        assert task["result_data"]["body"] == '{"made": true}'
        assert task["result_data"]["headers"]["content-length"]
        assert server.requests == [("POST", "/x?y=1")]
        assert server.tasks == [{"a": 1}]


async def test_an_http_task_tries_again_what_may_get_better(tmp_path: Path) -> None:
    answers = iter([(503, "later"), (200, "now")])
    async with (
        stub_node(lambda _task: next(answers)) as server,
        api(tmp_path, tasks={"http_hosts": ["127.0.0.0/8"]}) as served,
    ):
        given = {"url": f"http://127.0.0.1:{server.port}/"}
        task = await served.ended("http", given, max_retries=1, backoff={"base": 0.01, "most": 0.02})
        assert (task["state"], task["attempt"], task["result_data"]["body"]) == ("completed", 2, "now")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"url": "http://127.0.0.1:1/"}, "tasks.http_hosts"),
        ({"url": "http://localhost:1/"}, "tasks.http_hosts"),
        ({"url": "http://[::1]:1/"}, "tasks.http_hosts"),
        ({"url": "http://[::ffff:127.0.0.1]:1/"}, "tasks.http_hosts"),
        ({"url": "http://169.254.169.254/latest"}, "tasks.http_hosts"),
        ({"url": "http://10.0.0.1/"}, "tasks.http_hosts"),
        ({"url": "http://2130706433/"}, "input_data.url"),
        ({"url": "http://me@localhost/"}, "input_data.url"),
        ({"url": "file:///etc/passwd"}, "input_data.url"),
        ({"url": "http://localhost/a b"}, "input_data.url"),
        ({"url": "http://localhost/", "headers": {"Host": "other"}}, "input_data.headers"),
        ({"url": "http://localhost/", "method": "TRACE"}, "input_data.method"),
        ({"method": "GET"}, "url"),
        ({"url": "http://localhost/", "colour": 1}, "colour"),
        ("http://localhost/", "input_data"),
    ],
)
async def test_an_http_task_does_not_get_where_it_must_not(tmp_path: Path, given: Any, error: str) -> None:
    """`localhost` is named, but leads to an address that is not public; so does the whole internet."""
    async with api(tmp_path, tasks={"http_hosts": ["localhost", "0.0.0.0/0", "::/0"]}) as served:
        task = await served.ended("http", given, max_retries=2)
        assert task["state"] == "failed"
        assert error in task["error_message"]
        assert task["attempt"] == 1


async def test_an_http_answer_that_is_too_large_fails(tmp_path: Path) -> None:
    async with (
        stub_node((200, "x" * (1 << 20) + "y")) as server,
        api(tmp_path, tasks={"http_hosts": ["127.0.0.1"]}) as served,
    ):
        task = await served.ended("http", {"url": f"http://127.0.0.1:{server.port}/"})
        assert task["state"] == "failed"


async def test_http_hosts_change_while_the_service_runs(tmp_path: Path) -> None:
    async with stub_node(ACCEPTS) as server, api(tmp_path) as served:
        given = {"url": f"http://127.0.0.1:{server.port}/"}
        assert (await served.ended("http", given))["state"] == "failed"
        changed = await served.client.patch(
            served.running.url + "/api/orchestrator/config", json={"tasks": {"http_hosts": ["127.0.0.1"]}}
        )
        assert changed.status_code == 200, changed.text
        assert (await served.ended("http", given))["result_data"]["status"] == 202


# Functions


@asynccontextmanager
async def with_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **names: str) -> AsyncIterator[Api]:
    (tmp_path / "chores.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with api(tmp_path, tasks={"handlers": {name: f"chores:{one}" for name, one in names.items()}}) as served:
        yield served


async def test_a_function_runs_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_functions(tmp_path, monkeypatch, double="double", later="later") as served:
        task = await served.ended("double", {"number": 21})
        assert task["state"] == "completed", task
        assert task["result_data"]["twice"] == 42
        process = task["result_data"]["process"]
        assert process != os.getpid()
        assert (await served.ended("double", {"number": 1}))["result_data"]["process"] == process
        assert (await served.ended("later", [1, None]))["result_data"] == [1, None]
        assert "double" in (await served.nodes())["local"]["capabilities"]


async def test_a_function_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"refuse": "refuse", "vanish": "vanish", "strange": "strange", "absent": "absent"}
    async with with_functions(tmp_path, monkeypatch, **names) as served:
        for name, words in {
            "refuse": "ValueError: not today",
            "vanish": "status 3",
            "strange": "not JSON",
            "absent": "cannot be loaded",
        }.items():
            task = await served.ended(name, {})
            assert task["state"] == "failed"
            assert words in task["error_message"]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_function_that_is_not_wanted_any_more_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    file = tmp_path / "process"
    async with with_functions(tmp_path, monkeypatch, sleep="sleep", double="double") as served:
        task = await served.submit("sleep", {"file": str(file)}, max_retries=0, timeout=60 if cancelled else 3)
        await served.running.until(lambda: file.exists() and file.read_text())
        if cancelled:
            await served.ok("POST", f"/tasks/{task}/cancel")
        await served.until(task, "cancelled" if cancelled else "timeout")
        process = Path(f"/proc/{file.read_text()}")
        await served.running.until(lambda: not process.exists(), timeout=5.0)
        assert (await served.ended("double", {"number": 1}))["state"] == "completed"


async def test_a_task_of_the_service_outlives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "process"
    async with with_functions(tmp_path, monkeypatch, work="sleep") as served:
        task = await served.submit("work", {"file": str(file)})
        await served.running.until(file.exists)
    async with with_functions(tmp_path, monkeypatch, work="later") as served:
        again = await served.until(task, "completed")
        assert again["attempt"] == 2
        assert again["retry_count"] == 0
