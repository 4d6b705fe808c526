"""The commands about models on disks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import CommandLine, terminal

from orchestrator.domain.model_job import JobStatus
from orchestrator.ports.model_jobs import JobQuery
from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

PULL = "/api/pull"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def fleet(tmp_path: Path) -> AsyncIterator[tuple[RunningService, ModelServer, ModelServer]]:
    async with ModelServer(["llama3", "org/x:7b"]) as a, ModelServer(["llama3"]) as b:
        nodes: list[dict[str, Any]] = [
            {"id": "a", "url": a.url, "labels": {"disk_gb": "500"}},
            {"id": "b", "url": b.url},
        ]
        async with running_service({"nodes": nodes}, tmp_path) as running:
            await running.healthy(2)
            yield running, a, b


async def test_pull_placed_named_and_counted(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _, _):
        run = command.at(running.url)
        placed = await run("models", "pull", "New / One")
        assert placed.status == 0, placed.err
        assert [(row["model"], row["node"], row["state"]) for row in placed.rows] == [("new/one", "a", "succeeded")]
        assert "new/one on a: succeeded" in placed.err
        named = (await run("models", "pull", "two", "--on", "b", "--on", "a", "--json")).json
        assert [(job["serverId"], job["status"]) for job in named["jobs"]] == [("b", "succeeded"), ("a", "succeeded")]
        counted = await run("models", "pull", "three", "--count", "2")
        assert {row["node"] for row in counted.rows} == {"a", "b"}
        assert (await run("models", "pull", "three", "--count", "1", "--on", "b")).status == 0
        assert (await run("models", "pull", "three", "--on", "none")).status == 1
        assert (await run("models", "pull", "three", "--count", "0")).status == 2
        listed = {row["model"] for row in (await run("models", "list")).rows}
        assert {"new/one:latest", "two:latest", "three:latest"} <= listed


async def test_a_pull_that_fails_fails_the_command(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, a, _):
        run = command.at(running.url)
        a.mode("error_body_200", message="pull model manifest: file does not exist", path=PULL)
        failed = await run("models", "pull", "none", "--on", "a")
        assert failed.status == 1
        assert "file does not exist" in failed.err
        [row] = (await run("models", "jobs", "list", "--state", "failed")).rows
        assert (row["model"], row["node"]) == ("none", "a")
        a.mode(path=PULL, kind="ok")
        again = await run("models", "jobs", "retry", row["job"])
        assert (again.status, again.rows[0]["state"]) == (0, "succeeded")
        assert (await run("models", "jobs", "retry", "none")).status == 1


async def test_detach_watch_cancel(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, a, _):
        run = command.at(running.url)
        a.mode("hang_mid", after=3, path=PULL)
        begun = await run("models", "pull", "slow", "--on", "a", "--detach")
        assert begun.status == 0
        job = begun.rows[0]["job"]
        await a.wait_for(lambda seen: seen.hanging == 1)
        shown = (await run("models", "jobs", "show", job, "--json")).json["jobs"][0]
        assert (shown["status"], shown["completed"]) == ("running", 1_000_000_000)
        assert (await run("models", "jobs", "cancel", job)).status == 0
        assert (await run("models", "jobs", "cancel", job)).status == 1
        watched = await run("models", "jobs", "watch", job)
        assert (watched.status, watched.rows[0]["state"]) == (1, "cancelled")
        assert (await run("models", "jobs", "show", "none")).status == 1
        assert "no such jobs" in (await run("models", "jobs", "list", "--kind", "copy")).err


async def test_copy_create_delete(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _, b):
        run = command.at(running.url)
        assert (await run("models", "copy", "org/x:7b", "--from", "a", "--to", "b")).rows[0]["node"] == "b"
        assert (await run("models", "copy", "none", "--from", "a", "--to", "b")).status == 1
        made = await run("models", "create", "brief", "--on", "b", "--from", "llama3", "--system", "Be brief.")
        assert made.status == 0, made.err
        [body] = [one.body for one in b.requests if one.path == "/api/create"]
        assert (body["from"], body["system"]) == ("llama3", "Be brief.")
        asked = await run("models", "delete", "org/x:7b", "--on", "b")
        assert asked.status == 2  # nobody can be asked
        gone = await run("models", "delete", "org/x:7b", "--on", "b", "--yes")
        assert gone.status == 0, gone.err
        assert "Deleted org/x:7b from b." in gone.err
        assert (await run("models", "delete", "org/x:7b", "--on", "b", "--yes")).status == 1


async def test_a_terminal_gets_bars_and_may_leave(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, a, _):
        a.mode("hang_mid", after=3, path=PULL, times=1)
        async with terminal("models", "pull", "slow", "--on", "a", "--url", running.url) as screen:
            await screen.until("slow on a")
            await screen.until("25%")
            screen.interrupt()
            await screen.until("What was begun goes on")
            assert await screen.end() == 130
        [job], _ = await running.service.model_jobs.list(JobQuery(), 10)
        assert job.status is JobStatus.RUNNING
        a.release()
        last = [job async for job in running.service.model_jobs.follow(job.id)][-1]
        assert last.status is JobStatus.SUCCEEDED


async def test_the_help_has_examples(command: CommandLine) -> None:
    for words in (("pull",), ("copy",), ("create",), ("delete",), ("jobs", "list"), ("jobs", "watch")):
        shown = await command("models", *words, "--help")
        assert shown.status == 0
        assert f"orchestrator models {' '.join(words)}" in shown.out
