"""The clients of the SDK against a real service."""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import orchestrator_client
from orchestrator_client import (
    AsyncClient,
    BadRequest,
    BatchTaskManager,
    Client,
    Conflict,
    Event,
    Forbidden,
    NotFound,
    OrchestratorError,
    PartlyRefused,
    TaskPriority,
    TaskStatus,
    Unauthenticated,
    Unavailable,
    Unreachable,
    Web4AIClient,
    Worker,
)
from service import RunningService, free_port, running_service

WAIT = 20.0
OPEN: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
KEYS: dict[str, Any] = {
    "auth": {"enabled": True, "keys": [
        {"name": "boss", "key": "b" * 24, "role": "admin"}, {"name": "eyes", "key": "e" * 24, "role": "viewer"},
    ]}
}  # fmt: skip


@asynccontextmanager
async def served(tmp_path: Path, **config: Any) -> AsyncIterator[RunningService]:
    async with running_service(OPEN | config, tmp_path) as run:
        yield run


@asynccontextmanager
async def echoing(run: RunningService) -> AsyncIterator[None]:
    """A worker that answers with what it was given."""
    worker = Worker(run.url, "", node_id="echo")
    worker.task("echo")(lambda data: data)
    serving = asyncio.create_task(worker.serve())
    try:
        yield
    finally:
        worker.stop()
        async with asyncio.timeout(WAIT):
            await serving


def everything(url: str) -> None:
    """What a program with the predecessor's SDK does."""
    with Web4AIClient(base_url=url, api_key="", timeout=30) as client:
        assert client.health_check()["status"] == "healthy"
        assert client.get_status()["tasks"]["pending"] == 0
        task_id = client.submit_task("echo", {"prompt": "Hello"}, priority=TaskPriority.HIGH, timeout=60)
        done = client.wait_for_task(task_id, timeout=WAIT, poll_interval=0.1)
        assert (done.status, done.result_data, done.node_id) == (TaskStatus.COMPLETED, {"prompt": "Hello"}, "echo")
        assert done.raw["priority"] == 2
        assert client.submit_and_wait("echo", [1], wait_timeout=WAIT).result_data == [1]
        page = client.get_tasks(status="completed", limit=1, offset=1)
        assert [one["task_id"] for one in page["tasks"]["completed"]] == [task_id]
        assert page["summary"]["completed_count"] == 2

        batch = BatchTaskManager(client)
        ids = [batch.submit_task("echo", number) for number in range(5)]
        assert [batch.wait_for_all(timeout=WAIT)[one].result_data for one in ids] == [0, 1, 2, 3, 4]
        assert batch.get_status_summary() == {"total": 5, "completed": 5}

        assert client.register_node("push", "127.0.0.1", 9, capabilities=["gpu"], labels={"zone": "a"})
        assert client.send_heartbeat("push", cpu_usage=12.5, status="active")
        node = client.get_node("push")
        assert (node.cpu_usage, node.capabilities, node.port) == (12.5, ("gpu",), 9)
        assert {one.node_id for one in client.get_nodes()} == {"push", "echo"}
        assert client.drain_node("push")
        assert client.get_node("push").status == "maintenance"
        assert client.remove_node("push")
        assert client.get_metrics()["tasks"]["completed_total"] == 7
        assert client.get_performance_metrics()["performance"]["success_rate"] == 100
        assert client.update_config({"network": {"load_balance_algorithm": "round_robin"}})
        assert client.get_config()["network"]["load_balance_algorithm"] == "round_robin"


async def test_the_predecessors_methods(tmp_path: Path) -> None:
    async with served(tmp_path) as run, echoing(run):
        await asyncio.to_thread(everything, run.url)


async def test_waiting_cancelling_retrying_and_explaining(tmp_path: Path) -> None:
    async with served(tmp_path) as run, AsyncClient(run.url, "") as client:
        needs = {"capabilities": ["gpu"]}
        task_id = await client.submit_task("train", requirements=needs)
        assert (await client.explain_task(task_id))["reason"]
        with pytest.raises(TimeoutError, match="pending"):
            await client.wait_for_task(task_id, 0.1)
        assert (await client.cancel_task(task_id, "changed my mind")).status is TaskStatus.CANCELLED
        with pytest.raises(Conflict):
            await client.cancel_task(task_id)
        assert (await client.retry_task(task_id)).status is TaskStatus.PENDING
        assert await client.pause_type("train")
        paused = await client.get_task_types()
        assert [(one["task_type"], one["paused"]) for one in paused] == [("train", True)]
        assert await client.resume_type("train")
        assert await client.stop()
        with pytest.raises(Unavailable):
            await client.submit_task("train")
        assert await client.start()


async def test_many_tasks(tmp_path: Path) -> None:
    async with served(tmp_path) as run, AsyncClient(run.url, "") as client:
        ids = await client.submit_many({"task_type": "later", "input_data": number} for number in range(1_500))
        assert len(set(ids)) == 1_500
        listed = [one.task_id async for one in client.iter_tasks("pending")]
        assert sorted(listed) == sorted(ids)
        with pytest.raises(PartlyRefused, match="1 of 3") as refused:
            await client.submit_many([{"task_type": "a"}, {"task_type": "b", "priority": 9}, {"task_type": "c"}])
        assert list(refused.value.refused) == [1]
        assert [one is None for one in refused.value.task_ids] == [False, True, False]


async def test_dead_letters(tmp_path: Path) -> None:
    async with served(tmp_path) as run, AsyncClient(run.url, "") as client:
        late = await client.submit_task("late", deadline=1.0)
        failed = await client.wait_for_task(late, WAIT)
        assert failed.finished
        assert not failed.ok
        assert [one.task_id for one in await client.get_dead_letters()] == [late]
        assert await client.replay_dead_letters(task_type="other") == []
        assert await client.replay_dead_letters([late]) == [late]


async def test_events_go_on_where_they_stopped(tmp_path: Path) -> None:
    async with served(tmp_path) as run, AsyncClient(run.url, "") as client, echoing(run):
        seen: list[Event] = []
        enough = asyncio.Event()

        def note(event: Event) -> None:
            seen.append(event)
            enough.set()

        with Client(run.url, "") as plain:
            following = asyncio.create_task(plain.subscribe_to_events(note, ["task_completed"]))
            async with asyncio.timeout(WAIT):
                while not enough.is_set():  # until the stream is open
                    await client.submit_and_wait("echo", 1)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        assert {event.type for event in seen} == {"task_completed"}
        after = seen[0].id
        last = await client.submit_task("echo", 2)
        await client.wait_for_task(last, WAIT)
        async with asyncio.timeout(WAIT):
            async for event in client.events(["task_completed"], after):
                if event.data["task_id"] == last:
                    break


async def test_errors_have_types(tmp_path: Path) -> None:
    async with served(tmp_path, **KEYS) as run:
        async with AsyncClient(run.url, "b" * 24) as client:
            with pytest.raises(NotFound) as missing:
                await client.get_task("nothing")
            assert (missing.value.status, missing.value.code) == (404, "TASK_NOT_FOUND")
            with pytest.raises(BadRequest, match="priority"):
                await client.submit_task("any", priority=9)
            await client.submit_task("one", 1, task_id="same")
            assert await client.submit_task("one", 1, task_id="same") == "same"
            with pytest.raises(Conflict):
                await client.submit_task("two", 2, task_id="same")
        async with AsyncClient(run.url, "e" * 24) as client:
            with pytest.raises(Forbidden):
                await client.submit_task("any")
        async with AsyncClient(run.url, "") as client:
            with pytest.raises(Unauthenticated):
                await client.get_tasks()
            assert (await client.health_check())["status"] == "healthy"


async def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with AsyncClient(url, "", retries=1) as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await client.health_check()
    monkeypatch.setenv("ORCHESTRATOR_URL", url)
    with Client(retries=0) as plain:
        assert plain.base_url == url
        with pytest.raises(OrchestratorError):
            plain.get_status()
    with pytest.raises(ValueError, match="is not an http"):
        Client("nowhere")


async def test_a_service_that_is_busy_is_asked_again() -> None:
    answers = [(503, "Retry-After: 0\r\n"), (429, ""), (200, "")]
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        status, more = answers.pop(0)
        body = b'{"success": true, "status": "healthy"}'
        head = f"HTTP/1.1 {status} OK\r\n{more}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, AsyncClient(f"http://127.0.0.1:{port}", "secret") as client:
        assert (await client.health_check())["status"] == "healthy"
    assert len(asked) == 3
    assert b"authorization: bearer secret" in asked[0].lower()


def test_the_client_needs_nothing_of_the_service() -> None:
    known = {"orchestrator_client", httpx2.__name__}
    for file in Path(orchestrator_client.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                root = name.partition(".")[0]
                assert root in known or root in sys.stdlib_module_names, f"{file}: {name}"
