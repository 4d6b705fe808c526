"""`orchestrator tasks` against a real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import CommandLine, spawn, terminal

from orchestrator_client import Permanent, TaskContext, Worker
from service import RunningService, running_service

WAIT = 20.0


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[RunningService]:
    config = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
    async with running_service(config, tmp_path) as run:
        yield run


@asynccontextmanager
async def working(run: RunningService) -> AsyncIterator[asyncio.Event]:
    """A worker; the event lets the tasks of type `held` end."""
    worker, go = Worker(run.url, "", node_id="w", heartbeat=0.1), asyncio.Event()
    worker.task("echo")(lambda data: data)

    @worker.task("held")
    async def held(data: Any, ctx: TaskContext) -> str:
        ctx.progress(0.5, "half of it")
        await go.wait()
        return "let go"

    @worker.task("broken")
    async def broken(data: Any) -> None:
        raise Permanent("it is broken")

    serving = asyncio.create_task(worker.serve())
    try:
        await run.until(lambda: "w" in run.service.workers.all())
        yield go
    finally:
        go.set()
        worker.stop()
        async with asyncio.timeout(WAIT):
            await serving


async def test_submit_get_watch_and_list(command: CommandLine, tmp_path: Path) -> None:
    async with served(tmp_path) as run, working(run):
        tasks = command.at(run.url)
        submitted = await tasks("tasks", "submit", "echo", '{"a": [1]}', "--priority", "high")
        assert submitted.status == 0, submitted.err
        task_id = submitted.out.strip()
        watched = await tasks("tasks", "watch", task_id)
        assert watched.status == 0, watched.err
        assert [(row["id"], row["state"], row["node"]) for row in watched.rows] == [(task_id, "completed", "w")]
        assert f"{task_id} completed" in watched.err
        got = (await tasks("tasks", "get", task_id, "--json")).json
        assert (got["result_data"], got["priority"], got["state"]) == ({"a": [1]}, 2, "completed")
        shown = await tasks("tasks", "get", task_id)
        assert 'result\t{"a": [1]}' in shown.out
        (tmp_path / "job.json").write_text('"from a file"')
        both = await tasks("tasks", "submit", "echo", f"@{tmp_path}/job.json", "--watch", "--json")
        assert both.json["result_data"] == "from a file"
        listed = await tasks("tasks", "--status", "completed", "--limit", "1")
        assert [row["id"] for row in listed.rows] == [both.json["task_id"]]
        assert "In all: 0 pending, 0 active, 2 completed, 0 failed." in listed.err
        assert (await tasks("tasks", "list", "--json")).json["summary"]["completed_count"] == 2


async def test_many_cancelled_and_retried_with_a_count_and_a_question(command: CommandLine, tmp_path: Path) -> None:
    async with served(tmp_path) as run:
        tasks = command.at(run.url)
        (tmp_path / "inputs").write_text("1\n2\n\n3\n")
        need = ("--capability", "gpu", "--label", "zone=a")
        ids = (await tasks("tasks", "submit", "train", "--many", f"{tmp_path}/inputs", *need)).out.split()
        other = (await tasks("tasks", "submit", "other", *need)).out.strip()
        assert len(ids) == 3
        asked = await tasks("tasks", "cancel", "--type", "train")
        assert (asked.status, "Cancel 3 tasks?" in asked.err, "--yes" in asked.err) == (2, True, True)
        cancelled = await tasks("tasks", "cancel", "--type", "train", "--yes", "--reason", "not today")
        assert (cancelled.status, "3 tasks cancelled." in cancelled.err) == (0, True)
        assert (await tasks("tasks", "get", other, "--json")).json["state"] == "queued"
        twice = await tasks("tasks", "cancel", ids[0], other, "--json")
        assert twice.status == 1
        assert '"count": 1' in twice.out
        assert (await tasks("tasks", "cancel", ids[0])).status == 1
        again = (await tasks("tasks", "retry", "--status", "cancelled", "--type", "train", "-y", "--json")).json
        assert (again["count"], again["skipped"], again["state"]) == (3, 0, "done")
        assert (await tasks("tasks", "get", ids[1], "--json")).json["state"] == "queued"
        young = await tasks("tasks", "cancel", "--older-than", "1h", "--node", "n", "--submitted-by", "me")
        assert (young.status, "0 tasks cancelled." in young.err) == (0, True)
        every = await tasks("tasks", "cancel", "--all", "-y")
        assert (every.status, "3 tasks cancelled." in every.err) == (0, True)
        both = (("cancel", "a", "--type", "b"), ("cancel", "a", "--all"))
        for wrong in (("cancel",), *both, ("retry",), ("submit", "a", "{")):
            assert (await tasks("tasks", *wrong)).status == 2


async def test_explain_pause_and_resume(command: CommandLine, tmp_path: Path) -> None:
    async with served(tmp_path) as run, working(run):
        tasks = command.at(run.url)
        task_id = (await tasks("tasks", "submit", "echo", "--capability", "gpu")).out.strip()
        told = await tasks("tasks", "explain", task_id)
        assert told.out.startswith("queued: ")
        assert "lacks capability gpu" in told.out
        assert (await tasks("tasks", "explain", task_id, "--json")).json["nodes"][0]["eligible"] is False
        assert (await tasks("tasks", "pause", "echo")).status == 0
        waits = (await tasks("tasks", "submit", "echo")).out.strip()
        assert [(row["type"], row["state"]) for row in (await tasks("tasks", "types")).rows] == [("echo", "paused")]
        assert (await tasks("tasks", "resume", "echo")).status == 0
        assert (await tasks("tasks", "watch", waits)).status == 0
        assert (await tasks("tasks", "explain", "nothing")).status == 1


async def test_dead_letters(command: CommandLine, tmp_path: Path) -> None:
    async with served(tmp_path) as run, working(run):
        tasks = command.at(run.url)
        ended = await tasks("tasks", "submit", "broken", "--watch")
        assert ended.status == 1
        assert "did not complete" in ended.err
        [letter] = (await tasks("tasks", "dead-letter", "list", "--type", "broken")).rows
        assert letter["error"] == "it is broken"
        why = (await tasks("tasks", "explain", letter["id"])).out
        assert why.startswith(f"failed: ended after {letter['attempts']} attempt"), why
        assert "it is broken" in why
        assert (await tasks("tasks", "dead-letter", "replay")).status == 2
        assert "Replay 1 task?" in (await tasks("tasks", "dead-letter", "replay", "--all")).err
        replayed = await tasks("tasks", "dead-letter", "replay", "--all", "--yes", "--json")
        assert replayed.json == {"task_ids": [letter["id"]], "count": 1}
        assert (await tasks("tasks", "watch", letter["id"])).status == 1
        some = await tasks("tasks", "dead-letter", "replay", "nosuch", letter["id"], "--json")
        assert (some.status, some.json["missing"], some.json["task_ids"]) == (1, ["nosuch"], [letter["id"]])
        none = await tasks("tasks", "dead-letter", "replay", "nosuch")
        assert (none.status, none.out, none.err) == (
            1,
            "",
            "error: Not queued again: nosuch (no dead letters, or they depend on one).\n",
        )


async def test_a_terminal_gets_a_bar(command: CommandLine, tmp_path: Path) -> None:
    async with served(tmp_path) as run, working(run) as go:
        task_id = (await command.at(run.url)("tasks", "submit", "held")).out.strip()
        async with terminal("tasks", "watch", task_id, "--url", run.url) as screen:
            await screen.until("half of it")
            go.set()
            await screen.until("let go")
            assert await screen.end() == 0


async def test_inputs_come_from_standard_input(tmp_path: Path) -> None:
    async with served(tmp_path) as run:
        piped = await spawn("tasks", "submit", "train", "--many", "-", "--url", run.url, stdin='{"a": 1}\n[2]\n')
        assert (piped.status, len(piped.out.split())) == (0, 2), piped.err
        one = await spawn("tasks", "submit", "train", "-", "--json", "--url", run.url, stdin='{"a": 1}')
        assert one.status == 0, one.err + one.out
        got = await spawn("tasks", "get", one.json["task_id"], "--json", "--url", run.url)
        assert got.json["input_data"] == {"a": 1}
