"""How a worker ends while the service does not answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator_client import TaskContext, Worker
from orchestrator_client.session import LAST_WORDS

GIVEN = '{"success": true, "tasks": [{"task_id": "t", "task_type": "stuck", "attempt": 1, "input_data": null}]}'


class Hanging:
    """A service that gives one task, takes no lines of it, and, once it hangs, accepts connections and says nothing
    more."""

    def __init__(self) -> None:
        self.hangs = False
        self.url = ""
        self.refused = asyncio.Event()
        self.reports: list[dict[str, Any]] = []
        self._given = False
        self._silence = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
                )
                body = await reader.readexactly(length)
                status, text = 200, b'{"success": true, "tasks": [], "results": [{"success": true}]}'
                if b"/tasks/pull" in head:
                    if self._given or self.hangs:
                        await self._silence.wait()
                    self._given, text = True, GIVEN.encode()
                if self.hangs:
                    await self._silence.wait()
                if b"/progress" in head:
                    status = 503
                    self.refused.set()
                if b"/tasks/results" in head:
                    self.reports += json.loads(body)["results"]
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def end(self) -> None:
        self._silence.set()


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    service = Hanging()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        service.end()
        server.close()


@pytest.mark.parametrize(("grace", "signals"), [(0.5, 1), (60.0, 2)])
async def test_grace_and_hurry_count_while_the_service_hangs(
    grace: float, signals: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with hanging() as service:
        worker, begun = Worker(service.url, "", node_id="w", concurrency=2, grace=grace), asyncio.Event()

        @worker.task("stuck")
        async def stuck(data: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        serving = asyncio.create_task(worker.serve())
        await begun.wait()
        service.hangs = True
        with caplog.at_level(logging.WARNING):
            began = time.monotonic()
            for _ in range(signals):
                worker.stop()
                await asyncio.sleep(0)
            async with asyncio.timeout(LAST_WORDS + 10.0):
                await serving
        assert time.monotonic() - began < LAST_WORDS + 4.0
    assert "the end could not be told: no answer within 5 s" in caplog.text


async def test_a_worker_without_work_ends_soon_while_the_service_hangs() -> None:
    async with hanging() as service:
        worker, done = Worker(service.url, "", node_id="w", grace=60.0), asyncio.Event()

        @worker.task("stuck")
        async def quick(data: Any) -> None:
            done.set()

        serving = asyncio.create_task(worker.serve())
        await done.wait()
        service.hangs = True
        worker.stop()
        async with asyncio.timeout(2 * LAST_WORDS + 4.0):
            await serving


async def test_a_result_that_waits_for_its_lines_is_told_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with hanging() as service:
        worker = Worker(service.url, "", node_id="w", grace=0.2)

        @worker.task("stuck")
        async def quick(data: Any, ctx: TaskContext) -> str:
            ctx.log("a line")
            return "done"

        serving = asyncio.create_task(worker.serve())
        await service.refused.wait()
        with caplog.at_level(logging.WARNING):
            worker.stop()
            async with asyncio.timeout(LAST_WORDS):
                await serving
        assert [(one["status"], one["result_data"]) for one in service.reports] == [("completed", "done")]
    assert "the last 1 log lines of task t, attempt 1, were not taken" in caplog.text
