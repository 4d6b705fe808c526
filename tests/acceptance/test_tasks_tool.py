"""Tasks of the type `tool`: what they call, as whom, and what becomes of the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import running_service

FUNCTIONS = """
import os, time
from pathlib import Path

def add(a, b):
    return {"sum": a + b}

def flaky(file):
    path = Path(file)
    number = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(number))
    if number < 3:
        os._exit(3)
    return number

def refuse():
    raise ValueError("not today")

def sleep(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)
"""
ADD = {
    "function": "tasked_tools:add",
    "side_effect": "read",
    "input_schema": {"properties": {"a": {"type": "number"}}, "required": ["a", "b"]},
}


class Served:
    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def ok(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def submit(self, given: Any, **body: Any) -> str:
        body = {"task_type": "tool", "input_data": given, "max_retries": 0, **body}
        return str((await self.ok("POST", "/tasks", body))["task_id"])

    async def until(self, task_id: str, *states: str) -> dict[str, Any]:
        task: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while task.get("state") not in states:
                task = (await self.ok("GET", f"/tasks/{task_id}"))["task"]
                await asyncio.sleep(0.02)
        return task

    async def ended(self, given: Any, **body: Any) -> dict[str, Any]:
        return await self.until(await self.submit(given, **body), "completed", "failed", "timeout")

    async def calls(self, **query: str) -> list[dict[str, Any]]:
        answer = await self.http.get("/tool-calls", params=query)
        found: list[dict[str, Any]] = answer.json()["calls"]
        return found


@asynccontextmanager
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **functions: Any) -> AsyncIterator[Served]:
    (tmp_path / "tasked_tools.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with (
        running_service({"tools": {"functions": functions}}, tmp_path) as running,
        httpx2.AsyncClient(base_url=f"{running.url}/api/v1", timeout=30, trust_env=False) as http,
    ):
        yield Served(http)


async def test_the_result_of_the_call_is_that_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch, add=ADD) as api:
        task = await api.ended({"tool": "add", "arguments": {"a": 1, "b": 2}})
        assert task["state"] == "completed", task
        result = task["result_data"]
        assert (result["result"], result["tool"], result["attempts"]) == ({"sum": 3}, "add", 1)
        [call] = await api.calls(task_id=task["task_id"])
        assert (call["call_id"], call["state"], call["principal"]) == (result["call_id"], "SUCCEEDED", "anonymous")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tool": "nothing"}, "not found"),
        ({"tool": "add", "arguments": {"a": "x", "b": 1}}, "/a"),
        ({"tool": "add", "arguments": []}, "input_data"),
        ({"arguments": {}}, "input_data"),
        ({"tool": "refuse"}, "not today"),
    ],
)
async def test_what_no_retry_mends_fails_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, words: str
) -> None:
    refuse = {"function": "tasked_tools:refuse"}
    async with served(tmp_path, monkeypatch, add=ADD, refuse=refuse) as api:
        task = await api.ended(given, max_retries=5)
        assert task["state"] == "failed"
        assert words in task["error_message"]
        assert len(await api.calls()) == (given.get("tool") == "refuse")


async def test_a_crash_is_retried_by_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch, flaky={"function": "tasked_tools:flaky"}) as api:
        task = await api.ended({"tool": "flaky", "arguments": {"file": str(tmp_path / "count")}}, max_retries=3)
        assert task["state"] == "completed", task
        assert task["result_data"]["result"] == 3
        assert [call["state"] for call in await api.calls()] == ["SUCCEEDED", "FAILED", "FAILED"]


async def test_a_task_waits_for_a_persons_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch, add=ADD | {"approval": "always"}) as api:
        for decision, state in (("approve", "completed"), ("reject", "failed")):
            task_id = await api.submit({"tool": "add", "arguments": {"a": 1, "b": 2}})
            async with asyncio.timeout(10):
                while not (waiting := await api.calls(task_id=task_id)):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)
            await api.ok("POST", f"/approvals/{waiting[0]['call_id']}/{decision}", {"reason": "because"})
            task = await api.until(task_id, "completed", "failed")
            assert task["state"] == state
            assert decision == "approve" or "because" in task["error_message"]


async def test_a_task_that_is_cancelled_cancels_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "process"
    async with served(tmp_path, monkeypatch, sleep={"function": "tasked_tools:sleep"}) as api:
        task_id = await api.submit({"tool": "sleep", "arguments": {"file": str(file)}})
        async with asyncio.timeout(20):
            while not file.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        await api.http.delete(f"/tasks/{task_id}")
        async with asyncio.timeout(10):
            while (await api.calls(task_id=task_id))[0]["state"] != "CANCELLED":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
