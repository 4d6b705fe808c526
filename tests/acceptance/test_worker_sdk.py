"""Workers made with the SDK, against a real service."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import environment

from orchestrator_client import AsyncClient, Permanent, TaskContext, TaskStatus, Unauthenticated, Worker
from orchestrator_client.notes import LAST_SECONDS
from service import RunningService, free_port, running_service

WAIT = 20.0
OPEN: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


@asynccontextmanager
async def served(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, AsyncClient]]:
    async with running_service(OPEN | config, tmp_path) as run, AsyncClient(run.url, "") as client:
        yield run, client


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """The worker in this loop until the block ends."""
    serving = asyncio.create_task(worker.serve())
    try:
        yield serving
    finally:
        worker.stop()
        worker.stop()
        async with asyncio.timeout(WAIT):
            await serving


async def given(client: AsyncClient, task_id: str) -> None:
    """Waits until a node has the task."""
    async with asyncio.timeout(WAIT):
        while (await client.get_task(task_id)).status is not TaskStatus.ACTIVE:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def on_port(port: int, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """The service on a port of ours, so that it can go and come back, with the data that it left."""
    log = tmp_path / "service.log"
    command = (sys.executable, "-m", "orchestrator", "start", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--no-demo", "--no-discover", cwd=tmp_path, env=environment(), stdout=output, stderr=output
        )
    try:
        async with AsyncClient(f"http://127.0.0.1:{port}", "", retries=50) as client:
            await client.health_check()
            yield client
    finally:
        process.terminate()
        async with asyncio.timeout(WAIT):
            await process.wait()


async def test_plain_async_and_process_handlers(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, client):
        worker = Worker(run.url, "", node_id="w", concurrency=3, labels={"zone": "a"})

        @worker.task("double")
        def double(data: int) -> int:
            return data * 2

        @worker.task("greet", capabilities=["talk"])
        async def greet(data: dict[str, str], ctx: TaskContext) -> dict[str, Any]:
            return {"said": f"hello {data['name']}", "attempt": ctx.attempt}

        worker.task("root", process=True)(int)
        async with working(worker):
            ids = await client.submit_many({"task_type": "double", "input_data": number} for number in range(50))
            greeting = await client.submit_and_wait(
                "greet", {"name": "you"}, requirements={"capabilities": ["talk"], "labels": {"zone": "a"}}
            )
            assert greeting.result_data == {"said": "hello you", "attempt": 1}
            results = [(await client.wait_for_task(task_id, WAIT)).result_data for task_id in ids]
            assert results == [number * 2 for number in range(50)]
            rooted = await client.submit_and_wait("root", "81", wait_timeout=WAIT)
            assert (rooted.status, rooted.result_data, rooted.node_id) == (TaskStatus.COMPLETED, 81, "w")
            node = await client.get_node("w")
            assert node.raw["task_types"] == ["double", "greet", "root"]
            assert (node.capabilities, node.raw["mode"], node.raw["max_concurrency"]) == (("talk",), "pull", 3)


async def test_failures_are_told_and_retried_unless_permanent(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, client):
        worker = Worker(run.url, "", concurrency=2)
        tries: list[int] = []

        @worker.task("shaky")
        def shaky(data: Any, ctx: TaskContext) -> str:
            tries.append(ctx.attempt)
            if len(tries) < 3:
                raise RuntimeError("not yet")
            return "done"

        @worker.task("hopeless")
        async def hopeless(data: Any) -> None:
            raise Permanent("no such file")

        @worker.task("odd")
        def odd(data: Any) -> Any:
            return float("nan") if data else object()

        async with working(worker):
            backoff = {"base": 0.01, "most": 0.05}
            done = await client.submit_and_wait("shaky", backoff=backoff, wait_timeout=WAIT)
            assert (done.result_data, done.attempt, tries) == ("done", 3, [1, 2, 3])
            failed = await client.submit_and_wait("hopeless", wait_timeout=WAIT)
            assert (failed.status, failed.error_message, failed.attempt) == ("failed", "no such file", 1)
            for data in (0, 1):
                strange = await client.submit_and_wait("odd", data, wait_timeout=WAIT)
                assert strange.status is TaskStatus.FAILED
                assert "not JSON" in (strange.error_message or "")
            never = await client.submit_and_wait("shaky", max_retries=0, wait_timeout=WAIT)
            assert never.ok
            letters = await client.get_dead_letters("hopeless")
            assert [one.task_id for one in letters] == [failed.task_id]


async def test_progress_and_cancellation_reach_the_other_side(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, client):
        worker = Worker(run.url, "", concurrency=2, heartbeat=0.1)
        stopped = threading.Event()
        cancelled = asyncio.Event()

        @worker.task("long")
        def long(data: Any, ctx: TaskContext) -> None:
            ctx.progress(0.5, "half of it")
            while not ctx.cancelled:
                time.sleep(0.01)
            stopped.set()

        @worker.task("sleep")
        async def sleep(data: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with working(worker):
            plain, soft = await client.submit_task("long"), await client.submit_task("sleep")
            async with asyncio.timeout(WAIT):
                while (task := await client.get_task(plain)).progress != 0.5:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert (task.progress_message, task.status) == ("half of it", TaskStatus.ACTIVE)
            await given(client, soft)
            for task_id in (plain, soft):
                assert (await client.cancel_task(task_id, "enough")).status is TaskStatus.CANCELLED
            assert await asyncio.to_thread(stopped.wait, WAIT)
            async with asyncio.timeout(WAIT):
                await cancelled.wait()


async def test_a_worker_that_stops_finishes_what_runs_and_gives_back_the_rest(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, client):
        first = Worker(run.url, "", node_id="first", concurrency=2, grace=0.5)
        begun, go = asyncio.Event(), asyncio.Event()

        @first.task("quick")
        async def quick(data: Any) -> str:
            begun.set()
            await go.wait()
            return "first"

        @first.task("stuck")
        async def stuck(data: Any) -> str:
            await asyncio.Event().wait()
            return "never"

        async with working(first) as serving:
            fast, slow = await client.submit_task("quick"), await client.submit_task("stuck")
            await begun.wait()
            await given(client, slow)
            first.stop()
            late = await client.submit_task("quick")
            go.set()
            async with asyncio.timeout(WAIT):
                await serving
        assert (await client.get_task(fast)).result_data == "first"
        assert (await client.get_task(slow)).status is TaskStatus.PENDING
        assert (await client.get_task(late)).status is TaskStatus.PENDING
        assert (await client.get_node("first")).status == "offline"

        second = Worker(run.url, "", node_id="second")
        for name in ("quick", "stuck"):
            second.task(name)(lambda data: "second")
        async with working(second):
            for task_id in (slow, late):
                task = await client.wait_for_task(task_id, WAIT)
                assert (task.result_data, task.retry_count) == ("second", 0)


async def test_a_service_that_goes_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    worker = Worker(f"http://127.0.0.1:{port}", "", node_id="w", heartbeat=0.2, wait=1.0)
    begun, go = asyncio.Event(), asyncio.Event()

    @worker.task("hold")
    async def hold(data: Any) -> str:
        begun.set()
        await go.wait()
        return "kept"

    async with working(worker):  # it waits for the service
        async with on_port(port, tmp_path) as client:
            task_id = await client.submit_task("hold")
            async with asyncio.timeout(WAIT):
                await begun.wait()
        go.set()  # the service is away when the task ends
        async with on_port(port, tmp_path) as client:
            task = await client.wait_for_task(task_id, WAIT)
            assert (task.result_data, task.attempt) == ("kept", 1)
            await client.remove_node("w")  # forgotten: it registers again
            assert (await client.submit_and_wait("hold", wait_timeout=WAIT)).result_data == "kept"


async def test_lines_of_a_handler_that_ends_while_the_service_is_away_are_not_lost(tmp_path: Path) -> None:
    port = free_port()
    worker = Worker(f"http://127.0.0.1:{port}", "", node_id="w", heartbeat=0.2, wait=1.0)
    begun, go = asyncio.Event(), asyncio.Event()

    @worker.task("hold")
    async def hold(data: Any, ctx: TaskContext) -> str:
        begun.set()
        await go.wait()
        for number in range(700):
            ctx.log(f"line {number}")
        return "kept"

    async with working(worker):
        async with on_port(port, tmp_path) as client:
            task_id = await client.submit_task("hold")
            async with asyncio.timeout(WAIT):
                await begun.wait()
        go.set()
        await asyncio.sleep(LAST_SECONDS + 1.0)  # longer than a service that is there may refuse them
        async with on_port(port, tmp_path) as client:
            task = await client.wait_for_task(task_id, WAIT)
            assert (task.result_data, task.attempt) == ("kept", 1)
            assert [one.message for one in await client.logs(task_id)] == [f"line {number}" for number in range(700)]


async def test_a_shutdown_does_not_wait_for_workers_that_wait(tmp_path: Path) -> None:
    worker = Worker(node_id="w", wait=30.0)
    worker.task("any")(lambda data: data)
    async with served(tmp_path) as (run, _):
        worker.url = run.url
        serving = asyncio.create_task(worker.serve())
        seats = run.service.task_parts.scheduler.seats.by_id
        await run.until(lambda: "w" in seats and seats["w"].credit > 0)
        began = time.monotonic()
    assert time.monotonic() - began < 10.0
    worker.stop()
    async with asyncio.timeout(WAIT):
        await serving


async def test_a_key_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, auth={"enabled": True, "keys": [{"name": "a", "key": "k" * 20, "role": "admin"}]}) as (
        run,
        _,
    ):
        worker = Worker(run.url, "wrong")
        worker.task("any")(lambda data: data)
        with pytest.raises(Unauthenticated):
            await worker.serve()


def test_handlers_that_cannot_be() -> None:
    worker = Worker()
    with pytest.raises(TypeError, match="takes the input data"):
        worker.task("none")(lambda: None)
    with pytest.raises(TypeError, match="in a process"):
        worker.task("both", process=True)(lambda data, ctx: None)
    worker.task("one")(lambda data: None)
    with pytest.raises(ValueError, match="handler already"):
        worker.task("one")(lambda data: None)


MODULE = """
import os, time
from orchestrator_client import Worker

worker = Worker(concurrency=2, heartbeat=0.2, grace=5.0)


@worker.task("where")
def where(data):
    if data:
        time.sleep(data)
    return os.getpid()
"""


@asynccontextmanager
async def spawned(
    tmp_path: Path, url: str, name: str, *more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """`orchestrator worker` in a process of its own."""
    (tmp_path / "app_under_test.py").write_text(MODULE)
    command = (sys.executable, "-m", "orchestrator", "worker", "app_under_test:worker", "--node-id", name, *more)
    log = tmp_path / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--url", url, cwd=tmp_path, env=environment(), stdout=output, stderr=output
        )
    try:
        yield process, log
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_kill_9_of_a_worker_runs_its_tasks_elsewhere(tmp_path: Path) -> None:
    config = {"tasks": {"heartbeat_interval": 0.3, "node_timeout": 1.5}}
    async with served(tmp_path, **config) as (run, client):
        async with spawned(tmp_path, run.url, "one") as (first, _):
            ids = [await client.submit_task("where", 600, timeout=900) for _ in range(2)]
            for task_id in ids:
                await given(client, task_id)
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        worker = Worker(run.url, "", node_id="two")
        worker.task("where")(lambda data: os.getpid())
        async with working(worker):
            for task_id in ids:
                task = await client.wait_for_task(task_id, WAIT)
                assert (task.result_data, task.node_id) == (os.getpid(), "two")


async def test_sigterm_of_a_worker_process_finishes_what_runs(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as (run, client),
        spawned(tmp_path, run.url, "one", "--concurrency", "1") as (process, log),
    ):
        running, waiting = await client.submit_task("where", 1.0), await client.submit_task("where", 0)
        await given(client, running)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT):
            assert await process.wait() == 0, log.read_text()
        assert (await client.get_task(running)).result_data == process.pid
        assert (await client.get_task(waiting)).status is TaskStatus.PENDING
        assert (await client.get_node("one")).raw["max_concurrency"] == 1


async def test_a_worker_that_cannot_be_found_is_explained(tmp_path: Path) -> None:
    for what, said in (("nowhere_to_be_found:worker", "No module named"), ("json:dumps", "no Worker"), ("json", ":")):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestrator", "worker", what,
            cwd=tmp_path, env=environment(), stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate()
        assert process.returncode == 2
        assert said in err.decode()
