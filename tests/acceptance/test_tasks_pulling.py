"""Nodes that pull: what they hear of cancellations, and of their own removal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import tasks_service


async def given(http: httpx2.AsyncClient, task_id: str) -> dict[str, Any]:
    await http.post("/tasks", json={"task_type": "t", "task_id": task_id})
    [task] = (await http.post("/nodes/n/tasks/pull", json={"wait": 5})).json()["tasks"]
    found: dict[str, Any] = task
    return found


async def state(http: httpx2.AsyncClient, task_id: str) -> str:
    return str((await http.get(f"/tasks/{task_id}")).json()["task"]["state"])


async def told(http: httpx2.AsyncClient, **body: Any) -> list[str]:
    answer = await http.post("/nodes/n/heartbeat", json=body)
    assert answer.status_code == 200, answer.text
    return [f"{one['task_id']}/{one['attempt']}" for one in answer.json()["cancel"]]


async def test_a_cancellation_is_told_until_the_node_does_not_name_the_task(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for task_id in ("a", "b"):
            await given(http, task_id)
            await http.post(f"/tasks/{task_id}/cancel")
        assert await told(http) == ["a/1", "b/1"]
        assert await told(http) == ["a/1", "b/1"], "the first answer may have been lost"
        assert await told(http, running=["a"]) == ["a/1", "b/1"], "of a task given just now it may not know yet"
        await asyncio.sleep(1.1)
        assert await told(http, running=["a"]) == ["a/1"]
        await http.post("/nodes/n/tasks/pull", json={"wait": 0, "running": []})
        assert await told(http) == []


async def test_a_cancellation_is_told_until_the_node_reports(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        task = await given(http, "a")
        await http.post("/tasks/a/cancel")
        assert await told(http) == ["a/1"]
        report = {"status": "failed", "error_message": "stopped", "attempt": task["attempt"], "node_id": "n"}
        assert (await http.post("/tasks/a/result", json=report)).status_code == 409
        assert await told(http) == []
        for wrong in ("a", [1]):
            assert (await http.post("/nodes/n/heartbeat", json={"running": wrong})).status_code == 400


async def test_a_task_that_is_cancelled_on_its_way_is_not_handed_out(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        await http.post("/tasks", json={"task_type": "t", "task_id": "first"})
        await http.post("/tasks", json={"task_type": "t", "task_id": "a"})
        [task] = (await http.post("/nodes/n/tasks/pull", json={"limit": 1, "wait": 5})).json()["tasks"]
        assert task["task_id"] == "first"
        await http.post("/tasks/a/cancel")
        assert (await http.post("/nodes/n/tasks/pull", json={"wait": 0.1})).json()["tasks"] == []
        assert await told(http) == []


async def test_a_node_that_is_removed_need_not_wait(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        await given(http, "a")
        waiting = asyncio.create_task(http.post("/nodes/n/tasks/pull", json={"wait": 20}))
        await asyncio.sleep(0.2)
        assert (await http.delete("/nodes/n")).status_code == 200
        async with asyncio.timeout(2):
            answer = await waiting
        assert (answer.status_code, answer.json()["details"]["code"]) == (404, "NODE_NOT_FOUND")
        async with asyncio.timeout(5):
            while await state(http, "a") != "queued":  # noqa: ASYNC110 - written just after the answer
                await asyncio.sleep(0.01)


async def test_what_a_node_is_given_is_sent_once(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        await http.post("/tasks", json={"task_type": "t", "task_id": "a", "input_data": "a-large-input"})
        pulled = await http.post("/nodes/n/tasks/pull", json={"wait": 5})
        assert pulled.text.count("a-large-input") == 1
        assert set(pulled.json()) == {"success", "tasks", "timestamp"}
        report = {"task_id": "a", "attempt": 1, "status": "completed", "node_id": "n"}
        reported = await http.post("/tasks/results", json={"results": [report]})
        assert set(reported.json()) == {"success", "results", "timestamp"}
        assert reported.json()["results"] == [{"success": True, "task_id": "a", "status": "completed"}]


@pytest.mark.parametrize("status", ["completed", "failed", "released"])
async def test_a_node_is_not_told_to_stop_what_it_has_ended_itself(tmp_path: Path, status: str) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for number, way in enumerate(("/tasks/{}/result", "/tasks/results")):
            task = await given(http, f"t{number}")
            report = {"task_id": task["task_id"], "status": status, "attempt": task["attempt"], "node_id": "n"}
            body = report if way.endswith("result") else {"results": [report]}
            answer = await http.post(way.format(task["task_id"]), json=body)
            assert answer.status_code == 200, answer.text
            assert await told(http) == []
            await http.post(f"/tasks/{task['task_id']}/cancel")


async def test_a_node_is_told_to_stop_what_has_taken_too_long(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        await http.post("/tasks", json={"task_type": "t", "task_id": "a", "timeout": 0.2, "max_retries": 0})
        await http.post("/nodes/n/tasks/pull", json={"wait": 5})
        async with asyncio.timeout(5):
            while await state(http, "a") != "timeout":  # noqa: ASYNC110 - by the task's own clock
                await asyncio.sleep(0.02)
        assert await told(http) == ["a/1"]


async def test_what_a_node_never_heard_of_is_called_off(tmp_path: Path) -> None:
    """The answer that has it may still be on its way: the node must not run it beside the next attempt."""
    async with tasks_service(tmp_path, "n") as http:
        await given(http, "a")
        await asyncio.sleep(1.1)  # as long as an answer may take
        again = await http.post("/nodes/n/tasks/pull", json={"wait": 5, "running": []})
        assert [(task["task_id"], task["attempt"]) for task in again.json()["tasks"]] == [("a", 2)]
        assert await told(http) == ["a/1"]
