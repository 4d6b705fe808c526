"""Waiting for the end of a task, and its log lines."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine

from service import RunningService, running_service

ROOT = "sk-root-0123456789abcdef"
OWNER, OTHER = "sk-owner-0123456789abcdef", "sk-other-0123456789abcdef"
KEYS = [
    {"name": "root", "key": ROOT, "role": "admin"},
    {"name": "owner", "key": OWNER, "role": "developer"},
    {"name": "other", "key": OTHER, "role": "developer"},
]


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=40) as client,
    ):
        yield running, client


async def begun(client: httpx2.AsyncClient, **headers: str) -> tuple[str, int]:
    """A task that a node works on: its id and attempt."""
    await client.post("/nodes/n/register", json={"host": "h", "mode": "pull"})
    task_id = str((await client.post("/tasks", json={"task_type": "t"}, headers=headers)).json()["task_id"])
    [task] = (await client.post("/nodes/n/tasks/pull", json={"wait": 10})).json()["tasks"]
    return task_id, task["attempt"]


async def done(client: httpx2.AsyncClient, task_id: str, attempt: int) -> None:
    report = {"status": "completed", "attempt": attempt, "node_id": "n", "result_data": 7}
    assert (await client.post(f"/tasks/{task_id}/result", json=report)).status_code == 200


async def log(client: httpx2.AsyncClient, task_id: str, attempt: int, *lines: Any) -> httpx2.Response:
    body = {"attempt": attempt, "node_id": "n", "logs": list(lines)}
    return await client.post(f"/tasks/{task_id}/progress", json=body)


async def test_an_answer_that_waits_for_the_end(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        task_id, attempt = await begun(client)
        waiting = [asyncio.create_task(client.get(f"/tasks/{task_id}?wait=30")) for _ in range(3)]
        await running.until(lambda: running.service.waits.count == 3)
        await done(client, task_id, attempt)
        async with asyncio.timeout(5):
            answers = [(await one).json()["task"] for one in waiting]
        begin = time.monotonic()
        again = (await client.get(f"/tasks/{task_id}?wait=30")).json()["task"]
        assert time.monotonic() - begin < 5
    assert [(one["status"], one["result_data"]) for one in [*answers, again]] == [("completed", 7)] * 4
    assert running.service.waits.count == 0


async def test_an_answer_when_the_time_is_over(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        task_id, _ = await begun(client)
        begin = time.monotonic()
        answer = await client.get(f"/tasks/{task_id}?wait=0.3")
        took = time.monotonic() - begin
        unknown = await client.get("/tasks/nobody?wait=30")
        wrong = [(await client.get(f"/tasks/{task_id}?wait={wait}")).status_code for wait in ("31", "-1", "nan", "x")]
        stopped = asyncio.create_task(client.get(f"/tasks/{task_id}?wait=30"))
        await running.until(lambda: running.service.waits.count == 1)
        running.service.stop()
        async with asyncio.timeout(5):
            assert (await stopped).json()["task"]["status"] == "active"
    assert answer.json()["task"]["status"] == "active"
    assert 0.3 <= took < 3
    assert unknown.status_code == 404
    assert wrong == [400] * 4


async def test_an_answer_when_another_replica_has_the_result(postgres_url: str, tmp_path: Path) -> None:
    config = {"database": {"url": postgres_url}}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with api(tmp_path / "a", **config) as (one, client), api(tmp_path / "b", **config) as (other, far):
        task_id, attempt = await begun(client)
        waiting = [asyncio.create_task(where.get(f"/tasks/{task_id}?wait=30")) for where in (client, far)]
        for running in (one, other):
            await running.until(lambda running=running: running.service.waits.count == 1)
        await done(client, task_id, attempt)
        async with asyncio.timeout(5):
            answers = [(await one).json()["task"]["result_data"] for one in waiting]
    assert answers == [7, 7]


async def test_log_lines_are_kept_and_paged(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        task_id, attempt = await begun(client)
        path = f"/tasks/{task_id}/logs"
        empty = (await client.get(path)).json()
        answer = await log(client, task_id, attempt, "one", {"message": "two", "level": "ERROR", "at": 1.5}, "ünï")
        assert answer.json()["cancel"] is False
        await log(client, task_id, attempt, "four")
        first = (await client.get(path, params={"limit": 2})).json()
        rest = (await client.get(path, params={"after": first["next"]})).json()
        running_task = (await client.get(f"/tasks/{task_id}")).json()["task"]
        await done(client, task_id, attempt)
        last = (await client.get(path, params={"after": rest["next"]})).json()
        late = await log(client, task_id, attempt, "too late")
        whole = (await client.get(path)).json()
    assert (empty["logs"], empty["finished"]) == ([], False)
    assert [(one["number"], one["message"]) for one in first["logs"]] == [(1, "one"), (2, "two")]
    assert first["logs"][1] == {"number": 2, "at": 1.5, "attempt": attempt, "level": "error", "message": "two"}
    assert [(one["number"], one["message"]) for one in rest["logs"]] == [(3, "ünï"), (4, "four")]
    assert running_task["state"] == "running"
    assert (last["logs"], last["finished"], last["next"]) == ([], True, 4)
    assert late.json()["cancel"] is True
    assert len(whole["logs"]) == 4


@pytest.mark.parametrize(
    "lines", [[1], [None], [{}], [{"message": 1}], [{"message": "x", "at": "now"}], [{"message": "x", "at": 1e300}]]
)
async def test_lines_that_are_none(tmp_path: Path, lines: list[Any]) -> None:
    async with api(tmp_path) as (_, client):
        task_id, attempt = await begun(client)
        answers = [await log(client, task_id, attempt, *lines), await log(client, task_id, attempt, *["x"] * 1_001)]
        odd = await log(client, task_id, attempt, "a\0b", "x" * 100_000)
        [first, second] = (await client.get(f"/tasks/{task_id}/logs")).json()["logs"]
    assert [one.status_code for one in answers] == [400, 400]
    assert odd.status_code == 200
    assert (first["message"], len(second["message"])) == ("a?b", 16_000)


async def test_the_newest_lines_are_kept_and_all_go_with_the_task(tmp_path: Path) -> None:
    config = {"max_log_lines": 10, "max_completed": 0}
    async with api(tmp_path, tasks=config) as (running, client):
        task_id, attempt = await begun(client)
        for number in range(25):
            await log(client, task_id, attempt, str(number))
        page = (await client.get(f"/tasks/{task_id}/logs")).json()
        await done(client, task_id, attempt)
        parts = running.service.task_parts
        assert await parts.task_logs.sweep(asyncio.sleep) == 0
        assert await parts.retention.sweep(asyncio.sleep) == 1
        assert await parts.task_logs.sweep(asyncio.sleep) == 1
        gone = await client.get(f"/tasks/{task_id}/logs")
    assert [one["message"] for one in page["logs"]] == [str(number) for number in range(15, 25)]
    assert (page["dropped"], page["last"]) == (15, 25)
    assert gone.status_code == 404


async def test_log_lines_are_told_without_their_text(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        task_id, attempt = await begun(client)
        await log(client, task_id, attempt, "secret one", "secret two")
        async with client.stream("GET", "/events?type=task_log", headers={"Last-Event-ID": "0"}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    break
    assert json.loads(line.removeprefix("data: "))["data"] == {"task_id": task_id, "first": 1, "last": 2}


async def test_log_lines_are_the_principals(tmp_path: Path) -> None:
    async with api(tmp_path, auth={"enabled": True, "keys": KEYS}) as (_, client):
        client.headers["X-API-Key"] = ROOT
        task_id, attempt = await begun(client, **{"X-API-Key": OWNER})
        await log(client, task_id, attempt, "mine")
        answers = {
            key: (await client.get(f"/tasks/{task_id}/logs", headers={"X-API-Key": key})).status_code
            for key in (ROOT, OWNER, OTHER)
        }
    assert answers == {ROOT: 200, OWNER: 200, OTHER: 403}


async def test_the_command_line_follows_the_lines_to_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with api(tmp_path) as (running, client):
        command = CommandLine(capsys, running.url)
        task_id, attempt = await begun(client)
        await log(client, task_id, attempt, "one")
        following = asyncio.create_task(command("tasks", "logs", task_id, "--follow", "--json"))
        await asyncio.sleep(0)
        await log(client, task_id, attempt, {"message": "two", "level": "error"})
        await done(client, task_id, attempt)
        async with asyncio.timeout(20):
            followed = await following
        plain = await command("tasks", "logs", task_id)
        unknown = await command("tasks", "logs", "nobody")
    assert [json.loads(line)["message"] for line in followed.out.splitlines()] == ["one", "two"]
    assert [line.split("\t")[1:] for line in plain.out.splitlines()] == [["info", "one"], ["error", "two"]]
    assert (followed.status, plain.status, unknown.status) == (0, 0, 1)
