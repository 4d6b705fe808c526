"""A node that is pushed to, as a small HTTP server: it notes what it is sent and answers as the test says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Reply = tuple[int, Any]  # status, and a body: JSON, or text as it is
Answer = Callable[[dict[str, Any]], Reply | None]  # None: it never answers

ACCEPTS: Reply = (202, {})
DONE: Reply = (200, {"success": True, "result": {"x": 1}})


@dataclass
class StubNode:
    """`answer` may be changed at any time. Times are monotonic seconds."""

    answer: Answer
    port: int = 0
    tasks: list[dict[str, Any]] = field(default_factory=list)  # as they came, one for each attempt
    times: list[float] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path of all
    cancelled: list[dict[str, Any]] = field(default_factory=list)
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def ids(self) -> list[str]:
        return [task["task_id"] for task in self.tasks]

    async def sent(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """The tasks, when there are so many."""
        async with asyncio.timeout(timeout), self.more:
            await self.more.wait_for(lambda: len(self.tasks) >= count)
        return self.tasks

    async def told(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """The cancellations, when there are so many."""
        async with asyncio.timeout(timeout), self.more:
            await self.more.wait_for(lambda: len(self.cancelled) >= count)
        return self.cancelled

    async def take(self, method: str, path: str, body: Any) -> Reply | None:
        async with self.more:
            self.requests.append((method, path))
            if path.endswith("/cancel"):
                self.cancelled.append(body)
                reply: Reply | None = (200, {})
            else:
                self.tasks.append(body)
                self.times.append(time.monotonic())
                reply = self.answer(body)
            self.more.notify_all()
        return reply


async def _serve(node: StubNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            lengths = [line.partition(":")[2] for line in head if line.lower().startswith("content-length:")]
            raw = await reader.readexactly(int(lengths[0])) if lengths else b""
            reply = await node.take(method, path, json.loads(raw) if raw else None)
            if reply is None:
                await asyncio.Event().wait()
                return
            status, body = reply
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (status, len(content)) + content)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the service has closed the connection
    finally:
        writer.close()


@asynccontextmanager
async def stub_node(answer: Answer | Reply) -> AsyncIterator[StubNode]:
    """One on a free port; `answer` is the same for all tasks or decides for each."""
    node = StubNode(answer if callable(answer) else lambda _task: answer)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        connections.add(own)
        own.add_done_callback(connections.discard)
        try:
            await _serve(node, reader, writer)
        except asyncio.CancelledError:
            writer.close()  # by the end of the test

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    node.port = server.sockets[0].getsockname()[1]
    try:
        yield node
    finally:
        server.close()
        for connection in list(connections):
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
