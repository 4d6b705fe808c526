"""Whatever a node says of a task, the task ends: no answer makes it run again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service
from worker_stubs import API, push_worker

BIG = b"x" * (1 << 20)
# What the node says (as JSON without its first brace), the state of the task then, its error, its result.
ANSWERS: dict[str, tuple[bytes, str, str | None, Any]] = {
    "an error with NUL": (b'"success":false,"error":"a\\u0000b"}', "failed", "a?b", None),
    "a long error": (b'"status":"failed","error_message":"' + b"e" * 9_000 + b'"}', "failed", "e" * 4_000, None),
    "a result that is no UTF-8": (b'"success":true,"result":"\xff"}', "failed", "the result is not UTF-8", None),
    "a result that is too large": (
        b'"success":true,"result":"' + BIG + b'"}',
        "failed",
        "the result is too large",
        None,
    ),
    "an agent with NUL": (b'"status":"completed","result":1,"agent_id":"\\u0000"}', "completed", None, 1),
    "a long agent": (b'"status":"completed","result":1,"agent_id":"' + b"a" * 9_000 + b'"}', "completed", None, 1),
    "figures that are no UTF-8": (
        b'"status":"completed","result":1,"performance_metrics":"\xff"}',
        "completed",
        None,
        1,
    ),
    "too many figures": (
        b'"status":"completed","result":1,"performance_metrics":"' + BIG + b'"}',
        "completed",
        None,
        1,
    ),
    "a key twice": (b'"status":"completed","result":{"a":1.0,"a":2}}', "completed", None, {"a": 2}),
}
CONFIG: dict[str, Any] = {
    "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
    "artifacts": {"max_result": 1 << 20},
}
TASK = {"task_type": "noop", "max_retries": 0}


async def _ended(client: httpx2.AsyncClient, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            task: dict[str, Any] = (await client.get(f"/tasks/{task_id}")).json()["task"]
            if task["completed_at"] is not None:
                return task
            await asyncio.sleep(0.02)


def _client(run: RunningService) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=run.url + API, timeout=20, trust_env=False)


def _check(task: dict[str, Any], state: str, error: str | None, result: Any) -> None:
    assert (task["state"], task["result"], task["attempt"]) == (state, result, 1)
    assert (task["error_message"] or "").startswith(error or "")
    assert bool(task["error_message"]) == bool(error)


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_odd_answer_ends_the_attempt(name: str, tmp_path: Path) -> None:
    said, *expected = ANSWERS[name]
    async with (
        running_service(CONFIG, tmp_path) as run,
        push_worker("n", lambda: run.url) as worker,
        _client(run) as client,
    ):
        worker.raw = lambda task: b"{" + said
        task_id = (await client.post("/tasks", json=TASK)).json()["task_id"]
        _check(await _ended(client, task_id), *expected)
        assert worker.given == [(task_id, 1)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"<html>Log in</html>", "the node answered HTTP 200 with no JSON: <html>Log in</html>"),
        (b'{"status": "completed", ', "the node answered HTTP 200 with no JSON"),
        (b'"\xff\x00"', "the node answered HTTP 200 with no JSON"),
        (b"[" * 100_000, "the node answered HTTP 200 with no"),
        (b'["completed"]', "the node answered HTTP 200 with no object"),
    ],
)
async def test_an_answer_that_is_no_object_fails_the_attempt(answer: bytes, error: str, tmp_path: Path) -> None:
    async with (
        running_service(CONFIG, tmp_path) as run,
        push_worker("n", lambda: run.url) as worker,
        _client(run) as client,
    ):
        worker.raw = lambda task: answer
        task_id = (await client.post("/tasks", json=TASK)).json()["task_id"]
        _check(await _ended(client, task_id), "failed", error, None)


@pytest.mark.parametrize("answer", [b"", b" ", b"ok", b"null", b'{"success": true}', b'{"status": 5, "attempt": "x"}'])
async def test_an_answer_that_says_nothing_means_accepted(answer: bytes, tmp_path: Path) -> None:
    async with (
        running_service(CONFIG, tmp_path) as run,
        push_worker("n", lambda: run.url) as worker,
        _client(run) as client,
    ):
        worker.raw = lambda task: answer
        task_id = (await client.post("/tasks", json=TASK)).json()["task_id"]
        async with asyncio.timeout(5):
            while (await client.get(f"/tasks/{task_id}")).json()["task"]["state"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # nothing announces that an answer was read
        report = {"status": "completed", "result": 1, "attempt": 1, "node_id": "n"}
        assert (await client.post(f"/tasks/{task_id}/result", json=report)).status_code == 200


async def test_an_odd_report_ends_the_attempt(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, _client(run) as client:
        await client.post("/nodes/p/register", json={"mode": "pull"})
        for said, *expected in ANSWERS.values():
            task_id = (await client.post("/tasks", json=TASK)).json()["task_id"]
            [task] = (await client.post("/nodes/p/tasks/pull", json={"wait": 5})).json()["tasks"]
            content = b'{"attempt":%d,' % task["attempt"] + said
            answer = await client.post(f"/tasks/{task_id}/result", content=content)
            assert answer.status_code == 200, answer.text
            _check(await _ended(client, task_id), *expected)


async def test_odd_words_of_progress_are_kept_as_text(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, _client(run) as client:
        await client.post("/nodes/p/register", json={"mode": "pull"})
        task_id = (await client.post("/tasks", json=TASK)).json()["task_id"]
        [task] = (await client.post("/nodes/p/tasks/pull", json={"wait": 5})).json()["tasks"]
        said = {"attempt": task["attempt"], "progress": 0.5, "message": "half\0"}
        answer = await client.post(f"/tasks/{task_id}/progress", json=said)
        assert (answer.status_code, answer.json()["cancel"]) == (200, False)
        found = (await client.get(f"/tasks/{task_id}")).json()["task"]
        assert (found["state"], found["progress_message"]) == ("running", "half?")
