"""Checks 12 to 26, 28, 30, 31 and 36 of the tasks contract (its section 6) against a running service."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service, spawned_service
from stub_node import ACCEPTS, DONE, StubNode, stub_node

FREE: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
SEVEN = {"task_id", "task_type", "priority", "requirements", "input_data", "timeout", "metadata"}
FAST = {"base": 0.05, "most": 1.0}


class Api:
    """What a client of the contract does."""

    def __init__(self, client: httpx2.AsyncClient, running: RunningService) -> None:
        self.client = client
        self.running = running

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> dict[str, Any]:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == expect, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def node(self, name: str, port: int, **body: Any) -> None:
        await self.call("POST", f"/nodes/{name}/register", {"host": "127.0.0.1", "port": port, **body})

    async def submit(self, task_type: str = "work", **body: Any) -> str:
        answer = await self.call("POST", "/tasks", {"task_type": task_type, **body})
        return str(answer["task_id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET", f"/tasks/{task_id}"))["task"]
        return found

    async def until(self, task_id: str, *states: str, timeout: float = 10.0) -> dict[str, Any]:
        """The task, when it is in one of the states."""
        task: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout):
                while True:
                    task = await self.task(task_id)
                    if task["state"] in states or task["status"] in states:
                        return task
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{task.get('state')} instead of {states}: {task}") from None

    async def explain(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET", f"/tasks/{task_id}/explain"))["data"]
        return found


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[Api]:
    async with (
        running_service({**FREE, **config}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=40) as client,
    ):
        yield Api(client, running)


async def test_check_12_a_node_that_is_removed_loses_its_tasks_to_another(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(ACCEPTS) as first, stub_node(DONE) as second:
        await served.node("first", first.port)
        task = await served.submit()
        await first.sent(1)
        await served.until(task, "active")
        await served.call("DELETE", "/nodes/first")
        await served.until(task, "pending")
        await served.node("second", second.port)
        assert (await served.until(task, "completed"))["node_id"] == "second"
        await served.call("DELETE", "/nodes/first", expect=404)


async def test_check_13_submit_answers_with_an_id(tmp_path: Path) -> None:
    async with api(tmp_path) as served:
        answer = await served.call("POST", "/tasks", {"task_type": "ai_inference", "input_data": {"prompt": "Hello"}})
        assert re.fullmatch(r"task_[0-9a-f]{12}", answer["task_id"])
        assert answer["success"] is True
        assert answer["data"]["task_id"] == answer["task_id"]
        assert answer["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "error"),
    [
        (b'{"input_data": 1}', "application/json", 400, "task_type is required"),
        (b"{}", "application/json", 400, ""),
        (b"{not json", "application/json", 400, ""),
        (b'{"task_type": "x"}', "text/plain", 415, ""),
        (b'{"task_type": "x", "priority": 9}', "application/json", 400, "priority"),
        (b'{"task_type": "x", "priority": "urgent"}', "application/json", 400, "priority"),
        (b'{"task_type": 5}', "application/json", 400, "task_type"),
        (b"[]", "application/json", 400, ""),
    ],
)
async def test_check_14_a_wrong_submission_says_why(
    tmp_path: Path, content: bytes, content_type: str, status: int, error: str
) -> None:
    async with api(tmp_path) as served:
        answer = await served.client.post("/tasks", content=content, headers={"Content-Type": content_type})
        assert answer.status_code == status, answer.text
        assert answer.json()["success"] is False
        assert error in answer.json()["error"]
        assert answer.json()["details"]["code"]


async def test_check_15_a_node_gets_the_seven_fields(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("n", node.port, capabilities=["gpu"])
        body = {"priority": "high", "requirements": {"capabilities": ["gpu"]}, "input_data": {"p": [1, None]}}
        task = await served.submit("kind", **body, timeout=7, metadata={"a": "b"})
        [sent] = await node.sent(1)
        assert node.requests[0] == ("POST", "/api/tasks")
        assert sent.keys() >= SEVEN
        given = {name: sent[name] for name in SEVEN}
        assert given == {
            "task_id": task,
            "task_type": "kind",
            "priority": 2,
            "requirements": {"capabilities": ["gpu"]},
            "input_data": {"p": [1, None]},
            "timeout": 7,
            "metadata": {"a": "b"},
        }


async def test_check_15_the_older_node_has_its_own_path(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("old", node.port, node_type="ultimate_agent")
        await served.until(await served.submit(), "completed")
        assert node.requests[0] == ("POST", "/api/v4/tasks/execute")


async def test_check_16_a_result_in_the_answer(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("n", node.port)
        task = await served.until(await served.submit(), "completed", timeout=1.0)
        assert task["result_data"] == {"x": 1}


async def test_check_17_a_result_that_comes_later(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(ACCEPTS) as node:
        await served.node("n", node.port)
        task = await served.submit()
        await node.sent(1)
        await served.until(task, "active")
        await served.call("POST", f"/tasks/{task}/result", {"status": "completed", "result_data": {"y": 2}})
        found = await served.until(task, "completed")
        assert found["result_data"] == {"y": 2}
        assert found["execution_time"] > 0
        assert (await served.call("GET", "/nodes/n"))["node"]["tasks_completed"] == 1


async def test_check_18_an_old_node_that_says_ok_has_taken_the_task(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node((200, "ok")) as node:
        await served.node("n", node.port)
        task = await served.submit()
        await node.sent(1)
        await served.until(task, "running")
        await asyncio.sleep(1.0)  # that nothing more is sent cannot be awaited
        assert (await served.task(task))["status"] == "active"
        assert len(node.tasks) == 1


async def test_check_19_a_node_that_rejects_is_tried_with_growing_gaps(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node((500, "broken")) as node:
        await served.node("n", node.port)
        task = await served.submit(max_retries=2, backoff={"base": 0.4, "most": 10})
        found = await served.until(task, "failed", timeout=20.0)
        assert len(node.tasks) == 3
        assert [sent["attempt"] for sent in node.tasks] == [1, 2, 3]
        gaps = [later - earlier for earlier, later in zip(node.times, node.times[1:], strict=False)]
        assert gaps[1] > gaps[0] > 0.1
        assert "500" in found["error_message"]
        assert found["retry_count"] == 2


async def test_a_node_is_not_asked_to_cancel_what_it_has_refused_itself(tmp_path: Path) -> None:
    """By then it may have the task's next attempt, and the path names the task only."""
    replies = [(429, "busy"), (503, "busy"), (500, "broken"), (200, {"success": False, "error": "no"}), ACCEPTS]
    async with api(tmp_path) as served, stub_node(lambda _: replies.pop(0)) as node:
        await served.node("n", node.port)
        task = await served.submit(max_retries=5, backoff=FAST)
        await node.sent(5, timeout=30.0)
        await served.until(task, "active")
        await served.call("POST", f"/tasks/{task}/cancel")
        assert [told["attempt"] for told in await node.told(1)] == [5]


async def test_why_a_task_is_tried_again_and_why_it_ended_is_explained(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node((500, "broken")) as node:
        await served.node("n", node.port)
        task = await served.submit(max_retries=1, backoff={"base": 60, "most": 60})
        await served.until(task, "retrying")
        why = (await served.explain(task))["reason"]
        assert re.fullmatch(r"attempt 1 failed: .*HTTP 500.*; the next one begins in \d+\.\d s", why)
        await served.call("POST", f"/tasks/{task}/cancel", {"reason": "no longer wanted"})
        assert (await served.explain(task))["reason"].startswith("ended after 1 attempt: ")
        ended = await served.submit(deadline=time.time() - 5)
        await served.until(ended, "failed")
        assert (await served.explain(ended))["reason"].startswith("ended before any attempt: ")


async def test_check_20_an_attempt_that_takes_too_long_ends(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(ACCEPTS) as node:
        await served.node("n", node.port)
        begun = time.monotonic()
        task = await served.submit(timeout=1, max_retries=1, backoff=FAST)
        found = await served.until(task, "timeout")
        assert 2.0 <= time.monotonic() - begun < 6.0
        assert len(node.tasks) == 2
        assert found["error_message"]
        assert (await node.told(2))[0]["task_id"] == task
        late = {"status": "completed", "result_data": 1, "attempt": 1, "node_id": "n"}
        await served.call("POST", f"/tasks/{task}/result", late, expect=409)


async def test_check_20_a_node_that_never_answers_is_no_different(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(lambda _task: None) as node:
        await served.node("n", node.port)
        task = await served.submit(timeout=0.5, max_retries=0)
        await served.until(task, "timeout", timeout=4.0)


async def test_check_21_a_deadline_in_the_past(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("n", node.port)
        task = await served.submit(deadline=time.time() - 5)
        found = await served.until(task, "failed")
        assert "deadline" in found["error_message"]
        assert node.tasks == []


async def test_check_21_a_deadline_that_comes_while_it_waits(tmp_path: Path) -> None:
    async with api(tmp_path) as served:
        task = await served.submit(deadline=time.time() + 0.5)
        assert (await served.task(task))["status"] == "pending"
        assert "deadline" in (await served.until(task, "failed"))["error_message"]


async def test_check_23_priorities_decide_the_order(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        tasks = [await served.submit(priority=priority) for priority in (5, 3, 1, 2, 4)]
        await served.node("n", node.port, max_concurrency=1)
        await node.sent(5)
        assert [sent["priority"] for sent in node.tasks] == [1, 2, 3, 4, 5]
        for task in tasks:
            await served.until(task, "completed")


async def test_check_23_a_low_priority_is_not_starved(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        first = {"tasks": [{"task_type": "work", "priority": 1}] * 200}
        await served.call("POST", "/tasks/batch", first)
        low = await served.submit(priority=5)
        await served.node("n", node.port, max_concurrency=1)
        stopped = asyncio.Event()

        async def stream() -> None:
            while not stopped.is_set():
                await served.call("POST", "/tasks/batch", {"tasks": [{"task_type": "work", "priority": 1}] * 50})

        flow = asyncio.create_task(stream())
        try:
            await served.until(low, "completed", timeout=15.0)
        finally:
            stopped.set()
            await flow
        assert node.ids[-1] != low


async def test_check_24_a_task_nobody_can_take_blocks_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("n", node.port)
        blocked = await served.submit(priority=1, requirements={"capabilities": ["gpu"]})
        await served.until(await served.submit(priority=5), "completed")
        assert (await served.task(blocked))["status"] == "pending"


async def test_check_25_capabilities_decide_and_explain_says_so(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as left, stub_node(DONE) as right:
        await served.node("left", left.port, capabilities=["a"])
        await served.node("right", right.port, capabilities=["b"])
        for _ in range(20):
            await served.submit(requirements={"capabilities": ["b"]})
        await right.sent(20)
        assert left.tasks == []
        told = await served.explain(await served.submit(requirements={"capabilities": ["c"]}))
        assert "c" in told["reason"]
        assert {node["node_id"] for node in told["nodes"]} == {"left", "right"}
        assert all("capability" in node["reason"] and not node["eligible"] for node in told["nodes"])


async def test_check_26_requirements(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as left, stub_node(DONE) as right:
        await served.node("left", left.port, cpu_usage=50, memory_usage=40, memory_mb=16_000)
        await served.node("right", right.port, cpu_usage=50, memory_usage=40, memory_mb=16_000)
        busy = await served.submit(requirements={"min_cpu": 60})
        await served.until(await served.submit(requirements={"min_memory": 1024}), "completed")
        assert (await served.task(busy))["status"] == "pending"
        assert "cpu" in json.dumps(await served.explain(busy)).lower()
        await served.call("POST", "/nodes/left/heartbeat", {"cpu_usage": 10})
        assert (await served.until(busy, "completed"))["node_id"] == "left"
        for requirements, name in (({"exclude_nodes": ["left"]}, "right"), ({"preferred_nodes": ["right"]}, "right")):
            for _ in range(5):
                found = await served.until(await served.submit(requirements=requirements), "completed")
                assert found["node_id"] == name


async def test_check_26_a_preferred_node_is_no_condition(tmp_path: Path) -> None:
    async with api(tmp_path) as served, stub_node(DONE) as node:
        await served.node("n", node.port)
        await served.until(await served.submit(requirements={"preferred_nodes": ["elsewhere"]}), "completed")


async def test_check_28_resource_aware_takes_the_idle_node(tmp_path: Path) -> None:
    config = {"tasks": {"policy": "resource_aware"}}
    async with api(tmp_path, **config) as served, stub_node(DONE) as busy, stub_node(DONE) as idle:
        await served.node("busy", busy.port, cpu_usage=90)
        await served.node("idle", idle.port, cpu_usage=10)
        for _ in range(10):
            await served.until(await served.submit(), "completed")
        assert len(idle.tasks) == 10
        assert busy.tasks == []


async def test_check_28_latency_optimized_takes_the_node_that_answers_fastest(tmp_path: Path) -> None:
    config = {"tasks": {"policy": "latency_optimized"}}
    async with api(tmp_path, **config) as served, stub_node(DONE) as near, stub_node(DONE) as far:
        await served.node("near", near.port)
        await served.node("far", far.port)
        for name, milliseconds in (("near", 2.0), ("far", 80.0)):
            for _ in range(50):
                served.running.service.workers.measured(name, milliseconds)
        for _ in range(10):
            await served.until(await served.submit(), "completed")
        assert len(near.tasks) == 10


async def test_check_30_a_lost_node_loses_its_tasks(tmp_path: Path) -> None:
    config = {"tasks": {"node_timeout": 1.0}}
    async with api(tmp_path, **config) as served, stub_node(ACCEPTS) as node, stub_node(DONE) as other:
        await served.node("n", node.port)
        task = await served.submit()
        await node.sent(1)
        await served.until(task, "active")
        found = await served.until(task, "pending", timeout=6.0)
        assert found["retry_count"] == 1
        assert (await served.call("GET", "/nodes/n"))["node"]["status"] == "offline"
        late = {"status": "completed", "result_data": 1, "attempt": 1, "node_id": "n"}
        await served.call("POST", f"/tasks/{task}/result", late, expect=409)
        await served.node("other", other.port)
        assert (await served.until(task, "completed"))["node_id"] == "other"


async def test_check_31_lists_are_filtered_and_counted(tmp_path: Path) -> None:
    def answer(task: dict[str, Any]) -> tuple[int, Any]:
        return (200, {"success": False, "error": "no"}) if task["task_type"] == "bad" else DONE

    async with api(tmp_path) as served, stub_node(answer) as node:
        await served.node("n", node.port)
        await served.call("POST", "/tasks/batch", {"tasks": [{"task_type": "work"}] * 60})
        bad = [await served.submit("bad", max_retries=0) for _ in range(3)]
        waiting = await served.submit(requirements={"capabilities": ["gpu"]})
        async with asyncio.timeout(10):
            while True:
                summary = (await served.call("GET", "/tasks"))["summary"]
                if (summary["completed_count"], summary["failed_count"]) == (60, 3):
                    break
                await asyncio.sleep(0.02)
        assert summary["pending_count"] == 1
        assert summary["active_count"] == 0
        page = await served.call("GET", "/tasks?status=completed&limit=20&offset=40")
        assert len(page["tasks"]["completed"]) == 20
        assert page["summary"] == summary
        rest = await served.call("GET", "/tasks?status=completed&limit=20&offset=50")
        assert len(rest["tasks"]["completed"]) == 10
        [pending] = (await served.call("GET", "/tasks?status=pending"))["tasks"]["pending"]
        assert pending["task_id"] == waiting
        failed = (await served.call("GET", "/tasks/failed"))["tasks"]
        assert {task["task_id"] for task in failed} == set(bad)
        assert all(task["error_message"] == "no" for task in failed)


async def test_check_36_nothing_is_lost_by_a_kill(tmp_path: Path) -> None:
    with spawned_service(FREE, tmp_path) as service:
        async with httpx2.AsyncClient(base_url=service.url + "/api/v1", timeout=20) as client:
            ids = []
            for number in range(100):
                answer = await client.post("/tasks", json={"task_type": "work", "input_data": number})
                assert answer.status_code == 200, answer.text
                ids.append(answer.json()["task_id"])
        service.kill()
    async with api(tmp_path) as served, stub_node(DONE) as node:
        assert (await served.call("GET", "/tasks"))["summary"]["pending_count"] == 100
        await served.node("n", node.port)
        for task in ids:
            await served.until(task, "completed")
        assert sorted(node.ids) == sorted(ids)
        assert (await served.call("GET", "/tasks"))["summary"]["completed_count"] == 100


async def _curl(url: str, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--noproxy", "*", *arguments, url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


async def test_the_guides_curl_lines(tmp_path: Path) -> None:
    json_body = ("-H", "Content-Type: application/json", "-d")

    async def drive(base: str, node: StubNode) -> str:
        assert (await _curl(f"{base}/health"))["status"] == "healthy"
        register = json.dumps({"host": "127.0.0.1", "port": node.port, "capabilities": ["ai_inference"]})
        answer = await _curl(f"{base}/nodes/node-001/register", "-X", "POST", *json_body, register)
        assert answer["node_id"] == "node-001"
        beat = '{"status":"active","cpu_usage":45.2,"memory_usage":62.8,"load_score":0.52}'
        assert (await _curl(f"{base}/nodes/node-001/heartbeat", "-X", "POST", *json_body, beat))["success"] is True
        assert (await _curl(f"{base}/nodes"))["nodes"]["node-001"]["load_score"] == 0.52
        body = '{"task_type":"ai_inference","input_data":{"prompt":"Hello"}}'
        return str((await _curl(f"{base}/tasks", "-X", "POST", *json_body, body))["task_id"])

    async with api(tmp_path) as served, stub_node(DONE) as node:
        base = served.running.url + "/api/v1"
        task = await drive(base, node)
        await served.until(task, "completed")
        assert (await _curl(f"{base}/tasks/{task}"))["task"]["result_data"] == {"x": 1}
        assert (await _curl(f"{base}/tasks"))["summary"]["completed_count"] == 1
        assert (await _curl(f"{base}/nodes/node-001"))["node"]["tasks_completed"] == 1
        assert (await _curl(f"{base}/status"))["data"]["tasks"]["completed"] == 1
        assert (await _curl(f"{base}/nodes/node-001", "-X", "DELETE"))["success"] is True
