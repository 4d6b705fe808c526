"""Tools in the client library, plain and async, against a real service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tool_surfaces import AUTH, KEYS, python_tools

from orchestrator_client import (
    AsyncClient,
    CallState,
    Client,
    Conflict,
    Forbidden,
    InvalidArguments,
    NotAvailable,
    NotFound,
    ToolCallFailed,
    WaitTimeout,
)
from orchestrator_client.calls import Call, whole
from orchestrator_client.tool_client import AsyncToolClient, ToolClient
from service import RunningService, running_service

WAIT = 20.0


@asynccontextmanager
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: bool = False) -> AsyncIterator[RunningService]:
    config, environ = python_tools(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environ["PYTHONPATH"])
    async with running_service({"tools": config["tools"], "auth": AUTH if auth else {}}, tmp_path) as run:
        yield run


def everything(url: str) -> None:
    """What a program does."""
    with Client(url, "") as client:
        tool = client.tool("python-double")
        assert (tool.kind, tool.source, tool.callable) == ("python", "config", True)
        assert tool.name in [one.name for one in client.tools(source="config")]
        assert client.validate_tool(tool.name, {"number": 2_000})[0]["path"] == "/number"

        call = client.call_tool(tool.name, {"number": 4}, idempotency_key="once")
        assert (call.ok, call.finished, call.value()["twice"], call.attempts) == (True, True, 8, 1)
        assert client.call_tool(tool.name, {"number": 4}, idempotency_key="once") == call
        with pytest.raises(Conflict):
            client.call_tool(tool.name, {"number": 5}, idempotency_key="once")
        with pytest.raises(InvalidArguments) as wrong:
            client.call_tool(tool.name, {"number": "4"})
        assert (wrong.value.status, wrong.value.problems[0]["path"]) == (422, "/number")

        failed = client.call_tool("python-refuse", {"number": 4})
        with pytest.raises(ToolCallFailed, match="not today") as refused:
            failed.value()
        assert (refused.value.code, refused.value.call_id) == ("tool_failed", failed.call_id)
        with pytest.raises(ToolCallFailed) as odd:
            client.call_tool("python-wrong", {"number": 4}).value()
        assert (odd.value.code, odd.value.problems[0]["path"]) == ("invalid_result", "/twice")
        late = client.call_tool("python-sleep", {"number": 4}, timeout=0.3)
        assert late.error is not None
        assert late.error.code == "tool_timeout"

        waits = client.call_tool("python-guarded", {"number": 4})
        assert (waits.needs_approval, waits.finished) == (True, False)
        with pytest.raises(WaitTimeout):
            client.wait_for_tool_call(waits.call_id, 0.2)
        assert [one.call_id for one in client.approvals()] == [waits.call_id]
        client.approve(waits.call_id, "planned", arguments={"number": 6})
        assert client.wait_for_tool_call(waits.call_id, WAIT).value()["twice"] == 12
        with pytest.raises(Conflict):
            client.reject(waits.call_id)

        slow = client.call_tool("python-sleep", {"number": 4}, wait=0.2)
        assert slow.state is CallState.RUNNING
        with pytest.raises(ToolCallFailed) as running:
            slow.value()
        assert running.value.code == "running"
        assert client.cancel_tool_call(slow.call_id).state is CallState.CANCELLED
        assert client.tool_call(slow.call_id).finished
        newest = client.tool_calls(tool="python-sleep", limit=1)
        assert [one.call_id for one in newest] == [slow.call_id]
        for missing in (client.tool, client.tool_call, client.call_tool):
            with pytest.raises(NotFound):
                missing("nobody")


async def test_the_plain_client_does_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch) as run:
        await asyncio.to_thread(everything, run.url)


async def test_the_async_client_waits_for_several_calls_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run, AsyncClient(run.url, "") as client:
        calls = await asyncio.gather(*(client.call_tool("python-double", {"number": one}) for one in range(5)))
        assert [call.value()["twice"] for call in calls] == [0, 2, 4, 6, 8]
        waits = await client.call_tool("python-guarded", {"number": 3})
        ends = asyncio.create_task(client.wait_for_tool_call(waits.call_id, WAIT))
        await client.reject(waits.call_id, "no")
        assert (await ends).state is CallState.REJECTED
        plan = {"name": "plan", "category": "T", "execution": {"kind": "pipeline"}}
        await client.send(Call("POST", "/tools", whole, body=plan))
        with pytest.raises(NotAvailable):
            await client.call_tool("plan")


async def test_a_key_may_do_what_its_role_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch, auth=True) as run:
        async with AsyncClient(run.url, KEYS["viewer"]) as viewer:
            assert await viewer.tools(kind="python")
            with pytest.raises(Forbidden):
                await viewer.call_tool("python-double", {"number": 1})
        async with AsyncClient(run.url, KEYS["developer"]) as developer:
            assert (await developer.call_tool("python-double", {"number": 1})).ok
            with pytest.raises(Forbidden):
                await developer.approvals()


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in found if not name.startswith("_")}

    assert methods(ToolClient) == methods(AsyncToolClient)
