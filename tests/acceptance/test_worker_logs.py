"""Log lines of handlers, from the handler to whoever reads them; and waiting for a task."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator_client import AsyncClient, Client, NotFound, TaskContext, TaskStatus, WaitTimeout, Worker
from orchestrator_client.notes import WAITING_LINES, Note
from service import RunningService, running_service

WAIT = 20.0
OPEN: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


@asynccontextmanager
async def served(tmp_path: Path, worker: Worker) -> AsyncIterator[tuple[RunningService, AsyncClient]]:
    """A service and a worker of it."""
    async with running_service(OPEN, tmp_path) as run, AsyncClient(run.url, "") as client:
        worker.url = run.url
        serving = asyncio.create_task(worker.serve())
        try:
            yield run, client
        finally:
            worker.stop()
            worker.stop()
            async with asyncio.timeout(WAIT):
                await serving


async def test_lines_are_there_in_order_when_the_result_is(tmp_path: Path) -> None:
    worker = Worker(api_key="", concurrency=3)

    @worker.task("plain")
    def plain(data: int, ctx: TaskContext) -> int:
        for number in range(data):
            ctx.log(f"line {number}")
        return data

    @worker.task("async")
    async def asynchronous(data: Any, ctx: TaskContext) -> None:
        ctx.log("two\nlines", "warning", 1_000.0)
        ctx.progress(0.5, "half")
        ctx.log("\ud800 and \x00")
        raise ValueError("no")

    async with served(tmp_path, worker) as (run, client):
        many = await client.submit_and_wait("plain", 2_500, wait_timeout=WAIT)
        assert many.ok
        lines, after = [], 0
        while page := await client.logs(many.task_id, after):
            lines += page
            after = page[-1].number
        assert [one.message for one in lines] == [f"line {number}" for number in range(2_500)]
        assert [one.number for one in lines] == list(range(1, 2_501))
        assert abs(lines[0].at - time.time()) < 60.0

        failed = await client.submit_and_wait("async", max_retries=1, backoff={"base": 0.01}, wait_timeout=WAIT)
        assert failed.status is TaskStatus.FAILED
        with Client(run.url, "") as plain_client:
            told = await asyncio.to_thread(plain_client.logs, failed.task_id)
        assert [(one.attempt, one.message) for one in told[:2]] == [(1, "two"), (1, "lines")]
        assert (told[0].level, told[0].at, told[2].level) == ("warning", 1_000.0, "info")
        assert [one.attempt for one in told] == [1, 1, 1, 2, 2, 2]
        with pytest.raises(NotFound):
            await client.logs("nothing")


async def test_lines_come_while_the_task_runs(tmp_path: Path) -> None:
    worker, go = Worker(api_key=""), asyncio.Event()

    @worker.task("slow")
    async def slow(data: Any, ctx: TaskContext) -> None:
        ctx.log("begun")
        await go.wait()

    async with served(tmp_path, worker) as (_, client):
        task_id = await client.submit_task("slow")
        async with asyncio.timeout(WAIT):
            while not (lines := await client.logs(task_id)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        assert lines[0].message == "begun"
        go.set()
        assert (await client.wait_for_task(task_id, WAIT)).ok
        assert len(await client.logs(task_id)) == 1


async def test_a_thread_that_a_handler_leaves_behind_does_not_hold_its_result(tmp_path: Path) -> None:
    worker, enough = Worker(api_key=""), threading.Event()

    @worker.task("leave")
    def leave(data: Any, ctx: TaskContext) -> str:
        def talk() -> None:
            while not enough.wait(0.001):
                ctx.log("more")

        threading.Thread(target=talk, daemon=True).start()
        return "done"

    async with served(tmp_path, worker) as (_, client):
        try:
            began = time.monotonic()
            assert (await client.submit_and_wait("leave", wait_timeout=WAIT)).result_data == "done"
            assert time.monotonic() - began < 4.0
        finally:
            enough.set()


async def test_waiting_is_told_at_once_and_in_time(tmp_path: Path) -> None:
    worker, go = Worker(api_key=""), asyncio.Event()

    @worker.task("hold")
    async def hold(data: Any) -> str:
        await go.wait()
        return "done"

    async with served(tmp_path, worker) as (run, client):
        task_id = await client.submit_task("hold")
        for timeout in (0.0, 0.3):
            began = time.monotonic()
            with pytest.raises(WaitTimeout):
                await client.wait_for_task(task_id, timeout)
            assert timeout <= time.monotonic() - began < timeout + 2.0
        with Client(run.url, "") as plain:
            waits = [asyncio.create_task(client.wait_for_task(task_id, WAIT, poll_interval=15.0))]
            waits.append(asyncio.create_task(asyncio.to_thread(plain.wait_for_task, task_id, WAIT, 15.0)))
            await asyncio.sleep(1.0)
            began = time.monotonic()
            go.set()
            assert [task.result_data for task in await asyncio.gather(*waits)] == ["done", "done"]
            assert time.monotonic() - began < 2.0


def test_memory_for_lines_is_bounded() -> None:
    woken: list[None] = []
    note = Note(lambda: woken.append(None))
    for number in range(WAITING_LINES + 7):
        note.log(f"line {number}")
    said = []
    while note.some:
        said += note.take().lines
    assert (len(said), said[-2].message) == (WAITING_LINES + 1, f"line {WAITING_LINES - 1}")
    assert said[-1].message == "(7 lines were left out: too many at once)"
    assert len(woken) == 1
    for _ in range(100):
        note.log("x" * 50_000)
    size = 0
    while note.some:
        size += sum(len(line.message) for line in note.take().lines)
    assert 1_000_000 < size <= 1 << 20
