"""Handlers that end in odd ways: each fails its own attempt, at once and with its reason, and nothing else."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator_client import AsyncClient, TaskStatus, Worker
from service import running_service

WAIT = 20.0
OPEN: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


class Base(BaseException):
    pass


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: dict[str, tuple[Callable[[], BaseException], str]] = {
    "stop": (lambda: StopIteration(4), "StopIteration: 4"),
    "exit": (lambda: SystemExit(3), "SystemExit: 3"),
    "base": (lambda: Base("base"), "Base: base"),
    "closed": (GeneratorExit, "GeneratorExit"),
    "wordless": (Wordless, "Wordless: (its text cannot be made: RuntimeError)"),
}

PROCESS_MODULE = """
import os, signal, time
from pathlib import Path


class Custom(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Base(BaseException):
    pass


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


RAISED = {
    "stop": lambda: StopIteration(4),
    "exit": lambda: SystemExit(3),
    "base": lambda: Base("base"),
    "closed": GeneratorExit,
    "wordless": Wordless,
    "interrupt": KeyboardInterrupt,
    "custom": lambda: Custom(42, "the real reason"),
}


def odd(data):
    if data == "lambda":
        return lambda: 1
    raise RAISED[data]()


def beside(data):
    Path(data, "begun").touch()
    while not Path(data, "go").exists():
        time.sleep(0.01)
    return os.getpid()


def die(data):
    if data == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if data == "fork" and os.fork() == 0:
        time.sleep(10)  # has the pipe, too
    os._exit(5)
"""


@asynccontextmanager
async def served(tmp_path: Path, worker: Worker) -> AsyncIterator[AsyncClient]:
    """A service and a worker of it, which must still be there in the end."""
    async with running_service(OPEN, tmp_path) as run, AsyncClient(run.url, "") as client:
        worker.url = run.url
        serving = asyncio.create_task(worker.serve())
        try:
            yield client
            assert not serving.done()
        finally:
            worker.stop()
            worker.stop()
            async with asyncio.timeout(WAIT):
                await serving


async def told(client: AsyncClient, task_type: str, data: Any) -> str | None:
    task = await client.submit_and_wait(task_type, data, max_retries=0, wait_timeout=WAIT)
    assert task.status is TaskStatus.FAILED
    return task.error_message


async def test_whatever_a_plain_handler_raises_ends_its_attempt(tmp_path: Path) -> None:
    worker = Worker(api_key="", concurrency=1)

    @worker.task("raise")
    def odd(data: str) -> None:
        raise RAISED[data][0]()

    async with served(tmp_path, worker) as client:
        said = {name: await told(client, "raise", name) for name in RAISED}
    assert said == {name: text for name, (_, text) in RAISED.items()}


async def test_whatever_an_async_handler_raises_ends_its_attempt_only(tmp_path: Path) -> None:
    worker, go = Worker(api_key="", concurrency=2), asyncio.Event()

    @worker.task("raise")
    async def odd(data: str) -> None:
        raise RAISED[data][0]()

    @worker.task("beside")
    async def beside(data: Any) -> str:
        await go.wait()
        return "unharmed"

    async with served(tmp_path, worker) as client:
        innocent = await client.submit_task("beside", max_retries=0)
        said = {name: await told(client, "raise", name) for name in RAISED}
        go.set()
        assert (await client.wait_for_task(innocent, WAIT)).result_data == "unharmed"
    expected = {name: text for name, (_, text) in RAISED.items()}
    assert said == expected | {"stop": "RuntimeError: coroutine raised StopIteration"}


async def test_ctrl_c_in_an_async_handler_ends_the_worker(tmp_path: Path) -> None:
    worker = Worker(api_key="", concurrency=1)

    @worker.task("interrupt")
    async def interrupt(data: Any) -> None:
        raise KeyboardInterrupt

    def run_worker() -> None:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(worker.serve())

    async with running_service(OPEN, tmp_path) as run, AsyncClient(run.url, "") as client:
        await client.submit_task("interrupt")
        worker.url = run.url
        await asyncio.to_thread(run_worker)


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that a process can import by name."""
    name = f"handlers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PROCESS_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


async def begun(tmp_path: Path) -> None:
    async with asyncio.timeout(WAIT):
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


async def test_whatever_a_process_handler_raises_ends_its_attempt_only(tmp_path: Path, handlers: Any) -> None:
    worker = Worker(api_key="", concurrency=2)
    worker.task("raise", process=True)(handlers.odd)
    worker.task("beside", process=True)(handlers.beside)
    more = {"interrupt": "KeyboardInterrupt", "custom": "Custom: the real reason"}
    expected = {name: text for name, (_, text) in RAISED.items()} | more
    async with served(tmp_path, worker) as client:
        innocent = await client.submit_task("beside", str(tmp_path), max_retries=0)
        await begun(tmp_path)
        assert {name: await told(client, "raise", name) for name in expected} == expected
        assert "not JSON" in (await told(client, "raise", "lambda") or "")
        (tmp_path / "go").touch()
        assert (await client.wait_for_task(innocent, WAIT)).ok


async def test_a_process_that_dies_takes_no_other_attempt_with_it(tmp_path: Path, handlers: Any) -> None:
    worker = Worker(api_key="", concurrency=2)
    worker.task("die", process=True)(handlers.die)
    worker.task("beside", process=True)(handlers.beside)
    async with served(tmp_path, worker) as client:
        innocent = await client.submit_task("beside", str(tmp_path), max_retries=0)
        await begun(tmp_path)
        died = "the process of the handler died"
        assert await told(client, "die", "") == f"{died} (exit code 5)"
        assert await told(client, "die", "kill") == f"{died} (SIGKILL)"
        assert await told(client, "die", "fork") == f"{died} (exit code 5)"
        (tmp_path / "go").touch()
        first = await client.wait_for_task(innocent, WAIT)
        assert (first.ok, first.attempt) == (True, 1)
        os.kill(first.result_data, signal.SIGKILL)  # one that waits for work
        again = await client.submit_and_wait("beside", str(tmp_path), backoff={"base": 0.01}, wait_timeout=WAIT)
        assert again.ok
        assert again.result_data != first.result_data
