"""`orchestrator tools` and `orchestrator approvals` against a real service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import CommandLine, environment, spawn, terminal
from tool_surfaces import python_tools

from orchestrator.domain.tool_call import CallQuery, CallState
from service import RunningService, running_service
from stub_node import stub_node

TOOL = """
tools:
  - name: weather
    category: WEB
    description: The weather of a city
    tags: [weather, web]
    input_schema:
      type: object
      required: [city]
      properties: {{city: {{type: string}}, days: {{type: integer}}, units: {{type: array, items: {{type: string}}}}}}
    execution:
      kind: http
      side_effect: read
      binding: {{method: GET, url: "http://127.0.0.1:{port}/v1/{{city}}", query: [days, units]}}
"""


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningService]:
    config, environ = python_tools(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environ["PYTHONPATH"])
    async with running_service({"tools": config["tools"]}, tmp_path) as run:
        yield run


async def test_a_tool_is_registered_called_and_removed(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run, stub_node((200, {"sky": "blue"})) as node:
        cli, file = command.at(run.url), tmp_path / "weather.yaml"
        file.write_text(TOOL.format(port=node.port))
        tool_id = (await cli("tools", "register", str(file))).out.strip()
        taken = await cli("tools", "register", str(file), "--json")
        assert (taken.status, taken.json["code"]) == (1, "CONFLICT")
        replaced = await cli("tools", "register", str(file), "--replace", "--json")
        assert replaced.json == [{"tool_id": tool_id, "name": "weather"}]
        shown = (await cli("tools", "show", "weather", "--json")).json
        assert (shown["tool_id"], shown["tags"]) == (tool_id, ["weather", "web"])
        assert "side effect\tread" in (await cli("tools", "show", "weather")).out
        [row] = (await cli("tools", "list", "weather", "--source", "registry")).rows
        assert (row["name"], row["kind"], row["side effect"]) == ("weather", "http", "read")

        words = ("--arg", "city=Bern", "--arg", "days=3", "--arg", "units=C", "--arg", "units=m/s")
        called = await cli("tools", "call", "weather", *words)
        assert (called.status, json.loads(called.out)) == (0, {"sky": "blue"})
        assert node.requests == [("GET", "/v1/Bern?days=3&units=C&units=m%2Fs")]
        whole = (await cli("tools", "call", "weather", "--arg", "city=Bern", "--output", "json")).json
        assert (whole["state"], whole["result"]) == ("SUCCEEDED", {"sky": "blue"})
        assert whole["arguments"] == {"city": "Bern"}

        assert (await cli("tools", "remove", "weather", "--yes")).status == 0
        gone = await cli("tools", "call", "weather", "--arg", "city=Bern")
        assert gone.status == 1
        assert "not found" in gone.err


async def test_what_fails_says_so_by_its_status(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run:
        cli = command.at(run.url)
        refused = await cli("tools", "call", "python-refuse", "--arg", "number=1")
        assert (refused.status, refused.out) == (1, "")
        assert "not today" in refused.err
        whole = await cli("tools", "call", "python-refuse", "--arg", "number=1", "-o", "json")
        assert (whole.status, whole.json["error"]["code"]) == (1, "tool_failed")
        wrong = await cli("tools", "call", "python-double", "--arg-json", 'number="1"')
        assert wrong.status == 1
        assert "/number" in wrong.err
        none = await cli("tools", "call", "python-double", "--arg", "number=one")
        assert none.status == 2
        assert "number takes integer" in none.err
        told = await cli("tools", "validate", "python-double", "--arg", "number=2000", "--json")
        assert (told.status, told.json["problems"][0]["path"]) == (1, "/number")
        assert (await cli("tools", "validate", "python-double", "--arg", "number=1", "--json")).json["valid"] is True
        failed = (await cli("tools", "calls", "--state", "FAILED")).rows
        assert [row["error"].partition(":")[0] for row in failed] == ["tool_failed", "tool_failed"]


async def test_arguments_come_from_a_file_and_from_standard_input(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run:
        file = tmp_path / "arguments.yaml"
        file.write_text("number: 4\nwords: [a]\n")
        cli = command.at(run.url)
        called = await cli("tools", "call", "python-double", "--args-file", str(file), "--arg", "words=b", "--json")
        assert called.json["result"] == {"twice": 8, "words": ["b"]}
        words = ("tools", "call", "python-double", "--args-file", "-", "--url", run.url)
        piped = await spawn(*words, stdin='{"number": 5}')
        assert (piped.status, json.loads(piped.out)["twice"]) == (0, 10)


async def test_a_call_is_left_alone_and_cancelled(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run:
        cli = command.at(run.url)
        left = await cli("tools", "call", "python-sleep", "--arg", "number=1", "--detach")
        call_id = left.out.strip()
        assert left.status == 0
        assert (await cli("tools", "call-status", call_id, "--json")).json["state"] == "RUNNING"
        assert (await cli("tools", "cancel", call_id)).status == 0
        assert "state\tCANCELLED" in (await cli("tools", "call-status", call_id, "--wait")).out
        late = await cli("tools", "call", "python-sleep", "--arg", "number=1", "--attempt-timeout", "300ms", "--json")
        assert (late.status, late.json["code"]) == (1, "tool_timeout")


async def test_approvals_are_decided_at_the_inbox(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as run:
        cli = command.at(run.url)
        waits = await cli("tools", "call", "python-guarded", "--arg", "number=1")
        assert waits.status == 1
        assert "waits for approval" in waits.err
        [row] = (await cli("approvals")).rows
        assert (row["tool"], row["arguments"]) == ("python-guarded", "number=1")
        assert "state\tPENDING_APPROVAL" in (await cli("approvals", "show", row["id"])).out
        approved = await cli("approvals", "approve", row["id"], "--arg-json", "number=7", "--reason", "seven")
        assert approved.status == 0
        done = (await cli("tools", "call-status", row["id"], "--wait", "--json")).json
        assert (done["result"]["twice"], done["decision"]["reason"]) == (14, "seven")
        assert (await cli("approvals", "reject", row["id"])).status == 1

        waiting = asyncio.create_task(cli("tools", "call", "python-guarded", "--arg", "number=2", "--wait", "--json"))
        call_id = await _call(run, "PENDING_APPROVAL")
        async with asyncio.timeout(20):
            refused = await spawn("approvals", "reject", call_id, "--reason", "no", "--url", run.url)
            assert refused.status == 0, refused.err
            told = await waiting
        assert (told.status, told.json["state"], told.json["decision"]["reason"]) == (1, "REJECTED", "no")


async def test_a_person_sees_that_it_runs_and_interrupts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, monkeypatch) as run:
        words = ("tools", "call", "python-sleep", "--arg", "number=1", "--url", run.url)
        async with terminal(*words, environ=environment(COLUMNS="120")) as screen:
            await screen.until("python-sleep ...")
            call_id = await _call(run, "RUNNING")
            screen.interrupt()
            await screen.until(f"Cancelled {call_id}")
            assert await screen.end() == 130
        assert await _call(run, "CANCELLED") == call_id


async def _call(run: RunningService, state: str) -> str:
    """The id of the call in this state, when there is one."""
    wanted = CallQuery(state=CallState(state))
    found: tuple[Any, ...] = ()
    async with asyncio.timeout(20):
        while not found:
            found = await run.service.storage.tool_calls.page(wanted, 1, 0)
            await asyncio.sleep(0.05)
    return str(found[0].id)
