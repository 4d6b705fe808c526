"""Worker nodes as small programs in the test: one that is pushed to and one that pulls. They find the service by a
function, as it has another port after a restart, and tell a listener what they see, in the words of the history
checker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.testing.task_history import Began, Reported
from raw_client import Answer, RawClient

API = "/api/v1"
Where = Callable[[], str]
Listener = Callable[[Began | Reported], None]


class Worker:
    """What both have in common: what they were given, and what they said."""

    def __init__(self, name: str, where: Where, *, seconds: float = 0.0) -> None:
        """`seconds` is how long it works on a task."""
        self.name = name
        self.seconds = seconds
        self.given: list[tuple[str, int]] = []  # task, attempt
        self.taken: list[tuple[str, int]] = []  # reports that were answered with 200
        self.refused: list[tuple[str, int]] = []  # and those with 409
        self.slots = 8
        self.working = 0  # tasks that it works on or has yet to report
        self.listener: Listener = lambda event: None
        self._where = where
        self._jobs: set[asyncio.Task[None]] = set()
        self._client = RawClient()

    async def call(self, path: str, body: dict[str, Any]) -> Answer | None:
        """None while the service is away."""
        try:
            return await self._client.post(self._where() + API + path, body)
        except (OSError, EOFError):
            return None

    async def register(self, **body: Any) -> None:
        self.slots = body.get("max_concurrency", self.slots)
        answer = await self.call(f"/nodes/{self.name}/register", {"max_concurrency": self.slots, **body})
        assert answer is not None
        assert answer.status_code in (200, 201), answer.text

    async def beat(self, every: float) -> None:
        while True:
            await self.call(f"/nodes/{self.name}/heartbeat", {})
            await asyncio.sleep(every)

    async def say(self, task: dict[str, Any], **body: Any) -> int:
        """Reports on a task until somebody listens; the status of the answer."""
        attempt = (task["task_id"], task["attempt"])
        ok = body.get("status", "completed") == "completed"
        report = {"status": "completed", "node_id": self.name, "attempt": task["attempt"], **self.outcome(task), **body}
        while True:
            answer = await self.call(f"/tasks/{task['task_id']}/result", report)
            if answer is not None and answer.status_code in (200, 404, 409):
                counts = answer.status_code == 200
                (self.taken if counts else self.refused).append(attempt)
                self.listener(Reported(time.monotonic(), *attempt, self.name, counts, ok))
                return answer.status_code
            await asyncio.sleep(0.05)

    def was_given(self, task: dict[str, Any]) -> None:
        self.given.append((task["task_id"], task["attempt"]))
        self.listener(Began(time.monotonic(), task["task_id"], task["attempt"], self.name))

    def outcome(self, task: dict[str, Any]) -> dict[str, Any]:
        return {"result_data": {"node": self.name, "attempt": task["attempt"], "input": task["input_data"]}}

    def spawn(self, work: Any) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def close(self) -> None:
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._client.close()

    async def work(self, task: dict[str, Any]) -> None:
        self.working += 1
        try:
            await asyncio.sleep(self.seconds)
            await self.say(task)
        finally:
            self.working -= 1


class PushWorker(Worker):
    """Answers with the result, or (`accepts`) takes the task and reports later, or (`silent`) not at all."""

    def __init__(self, name: str, where: Where, *, seconds: float = 0.0, accepts: bool = False) -> None:
        super().__init__(name, where, seconds=seconds)
        self.accepts = accepts
        self.silent = False
        self.raw: Callable[[dict[str, Any]], bytes] | None = None  # answers with these bytes
        self.came = asyncio.Event()
        self.tasks: list[dict[str, Any]] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Closes everything at once and says nothing more."""
        await self._unlisten()
        for job in list(self._jobs):
            job.cancel()

    async def close(self) -> None:
        await self._unlisten()
        await super().close()

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                body = json.loads(await reader.readexactly(length))
                path = head.split(b" ")[1].decode()
                status, answer = await self._answer(body) if path == "/api/tasks" else (200, {"success": True})
                text = self.raw(body) if self.raw and path == "/api/tasks" else json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(text), text)
                )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, task: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.was_given(task)
        self.tasks.append(task)
        self.came.set()
        if self.accepts:
            if not self.silent:
                self.spawn(self.work(task))
            return 202, {"success": True}
        await asyncio.sleep(self.seconds)
        return 200, {"success": True, **self.outcome(task)}


class PullWorker(Worker):
    """Asks for tasks, works on them, reports."""

    async def run(self) -> None:
        running: set[str] = set()

        async def work(task: dict[str, Any]) -> None:
            await self.work(task)
            running.discard(task["task_id"])

        while True:
            wanted = self.slots - len(running)
            if wanted <= 0:
                await asyncio.sleep(0.005)
                continue
            body = {"limit": wanted, "wait": 1.0, "running": sorted(running)}
            answer = await self.call(f"/nodes/{self.name}/tasks/pull", body)
            if answer is None or answer.status_code != 200:
                await asyncio.sleep(0.05)
                continue
            for task in answer.json()["tasks"]:
                self.was_given(task)
                running.add(task["task_id"])
                self.spawn(work(task))


@asynccontextmanager
async def push_worker(
    name: str,
    where: Where,
    *,
    seconds: float = 0.0,
    accepts: bool = False,
    register: bool = True,
    listener: Listener | None = None,
    **body: Any,
) -> AsyncIterator[PushWorker]:
    worker = PushWorker(name, where, seconds=seconds, accepts=accepts)
    worker.listener = listener or worker.listener
    await worker.listen()
    try:
        if register:
            await worker.register(host="127.0.0.1", port=worker.port, **body)
        yield worker
    finally:
        await worker.close()


@asynccontextmanager
async def pull_worker(
    name: str, where: Where, *, seconds: float = 0.0, listener: Listener | None = None, **body: Any
) -> AsyncIterator[PullWorker]:
    worker = PullWorker(name, where, seconds=seconds)
    worker.listener = listener or worker.listener
    try:
        await worker.register(mode="pull", **body)
        worker.spawn(worker.run())
        yield worker
    finally:
        await worker.close()
