"""kill -9 of the service during calls of tools: each call has one end, what has an outcome is not repeated, and nothing
that was half made is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import SpawnedService, spawned_service

FUNCTIONS = """
import os, time
from pathlib import Path

def wait(file, seconds):
    with open(file, "a") as begun:
        begun.write("x")
    time.sleep(seconds)
    return {"done": True}

def note(file, size=0):
    with open(file, "a") as begun:
        begun.write("x")
    return {"text": "y" * size}
"""
LARGE = 3 << 20  # bytes: an artifact


def config(**changes: Any) -> dict[str, Any]:
    wait = {"function": "killed_tools:wait", "side_effect": "write", **changes}
    note = {"function": "killed_tools:note", "side_effect": "write"}
    return {"tools": {"functions": {"wait": wait, "note": note}}}


def spawned(database_url: str, folder: Path, **changes: Any) -> Any:
    (folder / "killed_tools.py").write_text(FUNCTIONS)
    arguments, environ = ("--database-url", database_url), {"PYTHONPATH": str(folder)}
    return spawned_service(config(**changes), folder, arguments=arguments, environ=environ)


def client(service: SpawnedService) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"{service.url}/api/v1", timeout=30, trust_env=False)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


def begun(file: Path) -> int:
    return len(file.read_text()) if file.exists() else 0


def times_run(folder: Path) -> set[int]:
    return {begun(file) for file in folder.glob("ran.*")}


async def ended(http: httpx2.AsyncClient, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            task: dict[str, Any] = (await http.get(f"/tasks/{task_id}")).json()["task"]
            if task["state"] in ("completed", "failed", "timeout"):
                return task
            await asyncio.sleep(0.05)


async def test_a_call_that_ran_is_interrupted_and_not_begun_again(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "begun"
    body = {"arguments": {"file": str(file), "seconds": 60}, "idempotency_key": "k", "wait": 0}
    with spawned(database_url, tmp_path) as service:
        async with client(service) as http:
            call = (await http.post("/tools/wait/call", json=body)).json()
            assert call["state"] == "RUNNING"
            await until(lambda: begun(file) == 1)
        service.kill()
    with spawned(database_url, tmp_path) as service:
        async with client(service) as http:
            found = (await http.get(f"/tool-calls/{call['call_id']}")).json()["call"]
            assert (found["state"], found["error"]["code"]) == ("FAILED", "interrupted")
            assert found["ended_at"]
            again = (await http.post("/tools/wait/call", json=body)).json()
            assert (again["call_id"], again["state"]) == (call["call_id"], "FAILED")
            assert (await http.get("/tool-calls")).json()["total"] == 1
    assert begun(file) == 1


@pytest.mark.parametrize(
    ("side_effect", "retries", "state", "times"),
    [("read", 0, "completed", 2), ("write", 0, "failed", 1), ("write", 1, "completed", 2)],
)
async def test_a_task_makes_an_interrupted_call_again_only_where_it_may(
    database_url: str, tmp_path: Path, side_effect: str, retries: int, state: str, times: int
) -> None:
    file = tmp_path / "begun"
    given = {"tool": "wait", "arguments": {"file": str(file), "seconds": 5}}
    with spawned(database_url, tmp_path, side_effect=side_effect) as service:
        async with client(service) as http:
            body = {"task_type": "tool", "input_data": given, "max_retries": retries}
            task_id = (await http.post("/tasks", json=body)).json()["task_id"]
            await until(lambda: begun(file) == 1)
        service.kill()
    with spawned(database_url, tmp_path, side_effect=side_effect) as service:
        async with client(service) as http:
            task = await ended(http, task_id)
            assert task["state"] == state, task
            calls = (await http.get("/tool-calls", params={"task_id": task_id})).json()["calls"]
            assert [one["state"] for one in calls][-1] == "FAILED"
            assert len(calls) == times
    assert begun(file) == times


async def test_killed_under_load(database_url: str, tmp_path: Path) -> None:
    """At any moment: what was answered is there with its artifact; everything has an end; no key ran twice; and no
    artifact is left of a call that failed."""
    answered: dict[str, str] = {}

    async def load(http: httpx2.AsyncClient, client_number: int) -> None:
        for number in range(100):
            key = f"{client_number}.{number}"
            arguments = {"file": str(tmp_path / f"ran.{key}"), "size": LARGE if number % 2 else 0}
            try:
                answer = await http.post(
                    "/tools/note/call", json={"arguments": arguments}, headers={"Idempotency-Key": key}
                )
            except httpx2.HTTPError:
                return
            assert answer.json()["success"], answer.text
            answered[key] = answer.json()["call_id"]

    with spawned(database_url, tmp_path) as service:
        async with client(service) as http:
            loads = [asyncio.create_task(load(http, number)) for number in range(3)]
            await until(lambda: len(answered) >= 20)
            service.kill()
            await asyncio.gather(*loads)
    with spawned(database_url, tmp_path) as service:
        async with client(service) as http:
            await _settled(http, answered)
            for key, call_id in answered.items():
                arguments = {"file": str(tmp_path / f"ran.{key}"), "size": LARGE if int(key[2:]) % 2 else 0}
                again = await http.post(
                    "/tools/note/call", json={"arguments": arguments}, headers={"Idempotency-Key": key}
                )
                assert (again.json()["call_id"], again.json()["success"]) == (call_id, True)
    assert times_run(tmp_path) == {1}


async def _settled(http: httpx2.AsyncClient, answered: dict[str, str]) -> None:
    await http.post("/artifacts/sweep")
    calls = (await http.get("/tool-calls", params={"limit": 1000})).json()["calls"]
    states = {one["call_id"]: one["state"] for one in calls}
    assert {states[call_id] for call_id in answered.values()} == {"SUCCEEDED"}
    assert set(states.values()) <= {"SUCCEEDED", "FAILED"}
    listed = {one["artifact_id"] for one in (await http.get("/artifacts", params={"limit": 1000})).json()["artifacts"]}
    assert listed == {artifact for one in calls for artifact in one["artifacts"]}
    for artifact in listed:
        content = await http.get(f"/artifacts/{artifact}/content")
        assert (content.status_code, len(content.content)) == (200, LARGE + len('{"text":""}'))
