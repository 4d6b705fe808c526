"""Submissions that come twice: the same one is answered with the task that is there, another one is refused."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import tasks_service

LATER = time.time() + 3_600
FULL: dict[str, Any] = {
    "task_type": "t",
    "task_id": "a",
    "input_data": {"x": 1, "y": [1.5, "é"]},
    "metadata": {"k": 1, "l": None},
    "priority": 2,
    "requirements": {"capabilities": ["gpu"]},
    "timeout": 60,
    "max_retries": 1,
    "backoff": {"base": 2, "most": 9},
    "deadline": LATER,
    "not_before": LATER - 1_800,
    "callback_url": "http://127.0.0.1:9/called",
}
OTHERWISE: dict[str, Any] = {
    "task_type": "u",
    "input_data": {"x": True, "y": [1.5, "é"]},
    "metadata": {"k": 1},
    "priority": 3,
    "requirements": {"capabilities": ["tpu"]},
    "timeout": 61,
    "max_retries": 2,
    "backoff": {"base": 3, "most": 9},
    "deadline": LATER + 1,
    "not_before": LATER - 1_801,
    "callback_url": "http://127.0.0.1:9/other",
    "on_dependency_failure": "run",
}
REWRITTEN = b"""{ "input_data": {"y": [1.50, "\\u00e9"], "x": 1}, "metadata": {"l": null, "k": 1}, "task_type": "t",
    "task_id": "a" }"""


async def submitted(http: httpx2.AsyncClient, body: dict[str, Any] | bytes) -> tuple[int, str]:
    """The status, and the message or error."""
    raw = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await http.post("/tasks", headers={"Content-Type": "application/json"}, **raw)
    found = answer.json()
    return answer.status_code, found.get("message") or found["error"]


AGAIN = (200, "Task was submitted before")
ANOTHER = (409, "another task with this task_id exists")


async def test_the_same_submission_is_the_same_task(tmp_path: Path) -> None:
    async with tasks_service(tmp_path) as http:
        assert (await submitted(http, FULL))[0] == 200
        assert await submitted(http, FULL) == AGAIN
        await http.post("/tasks/a/cancel")
        assert await submitted(http, FULL) == AGAIN, "finished or not"


@pytest.mark.parametrize("field", OTHERWISE)
async def test_other_content_is_another_task(tmp_path: Path, field: str) -> None:
    async with tasks_service(tmp_path) as http:
        assert (await submitted(http, FULL))[0] == 200
        assert await submitted(http, FULL | {field: OTHERWISE[field]}) == ANOTHER
        keyed = {**FULL, "task_id": None, "idempotency_key": "k"}
        assert (await submitted(http, keyed))[0] == 200
        status, error = await submitted(http, keyed | {field: OTHERWISE[field]})
        assert (status, error) == (409, "another task with this idempotency key exists")


async def test_how_it_is_written_makes_no_other_task(tmp_path: Path) -> None:
    async with tasks_service(tmp_path) as http:
        body = {name: FULL[name] for name in ("task_type", "task_id", "input_data", "metadata")}
        assert (await submitted(http, body))[0] == 200
        assert await submitted(http, REWRITTEN) == AGAIN
        assert await submitted(http, REWRITTEN.replace(b'"x": 1', b'"x": 2')) == ANOTHER


async def test_defaults_that_change_make_no_other_task(tmp_path: Path) -> None:
    """A client that heard nothing when the service began anew, with another configuration, sends it again."""
    async with tasks_service(tmp_path) as http:
        plain, exact = {"task_type": "t", "task_id": "plain"}, {"task_type": "t", "task_id": "exact", "timeout": 7}
        for body in (plain, exact):
            assert (await submitted(http, body))[0] == 200
        answer = await http.put("/config", json={"orchestrator": {"task_timeout": 301, "max_retries": 5}})
        assert answer.status_code == 200, answer.text
        for body in (plain, exact):
            assert await submitted(http, body) == AGAIN
        assert await submitted(http, exact | {"timeout": 8}) == ANOTHER


@pytest.mark.parametrize("key", [{}, {"task_id": None, "idempotency_key": "k"}])
async def test_what_became_of_its_dependencies_makes_no_other_task(tmp_path: Path, key: dict[str, Any]) -> None:
    async with tasks_service(tmp_path) as http:
        await submitted(http, {"task_type": "t", "task_id": "parent"})
        child = {"task_type": "t", "task_id": "child", "dependencies": ["parent"]} | key
        first = (await http.post("/tasks", json=child)).json()["task_id"]
        await http.post("/tasks/parent/cancel")
        async with asyncio.timeout(5):
            while (await http.get(f"/tasks/{first}")).json()["task"]["state"] != "failed":  # noqa: ASYNC110 - soon
                await asyncio.sleep(0.02)
        assert await submitted(http, child) == AGAIN
        late = {"task_type": "t", "task_id": "late", "dependencies": ["parent"]}
        assert await submitted(http, late) == (409, "dependencies: task 'parent' is cancelled")
