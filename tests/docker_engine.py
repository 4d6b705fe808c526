"""A Docker Engine as far as tools use one: its API on a unix socket, with functions in place of images. It remembers
what it was asked to create, and what it removed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

STDOUT, STDERR = 1, 2
KILLED = 137


@dataclass
class Container:
    """One that was created and not yet removed."""

    id: str
    name: str
    body: dict[str, Any]
    program: Program
    running: bool = False
    status: int = 0
    out_of_memory: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def read(self) -> bytes:
        """All of its standard input."""
        assert self.reader is not None
        return await self.reader.read()

    async def write(self, stream: int, content: bytes) -> None:
        assert self.writer is not None
        self.writer.write(bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content)
        await self.writer.drain()


Program = Callable[[Container], Awaitable[int]]


class FakeDocker:
    """`programs` by image. `created` are the bodies, `removed` the names; `faults` answers the next call of a kind
    (create, start, ...) with a status."""

    def __init__(self, programs: dict[str, Program]) -> None:
        self.programs = programs
        self.containers: dict[str, Container] = {}
        self.created: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.asked: list[str] = []  # kinds of calls
        self.faults: dict[str, int] = {}
        self.slow: dict[str, asyncio.Event] = {}  # a call of this kind waits for the event
        self._tasks: set[asyncio.Task[None]] = set()

    def running(self) -> bool:
        return any(one.running for one in self.containers.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
        content = await reader.readexactly(int(length[1])) if length else b""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = re.sub(r"^/v\d+\.\d+", "", url.path)
        kind = _kind(method, path)
        self.asked.append(kind)
        if kind in self.slow:
            await self.slow[kind].wait()
        if kind in self.faults:
            _answer(writer, self.faults.pop(kind), {"message": f"no {kind} today"})
            return True
        if kind == "attach":
            await self._attach(path.split("/")[2], reader, writer)
            return False
        status, body = await self._answered(kind, path, query, json.loads(content or b"null"))
        _answer(writer, status, body)
        return True

    async def _answered(self, kind: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if kind == "version":
            return 200, {"ApiVersion": "1.47", "Version": "27.3"}
        if kind == "create":
            return self._create(query["name"], body)
        if kind == "list":
            wanted = json.loads(query["filters"])["label"][0].partition("=")
            found = [one for one in self.containers.values() if one.body["Labels"].get(wanted[0]) == wanted[2]]
            return 200, [{"Id": one.id, "Labels": one.body["Labels"]} for one in found]
        container = self._found(path.split("/")[2])
        if container is None:
            return 404, {"message": "No such container"}
        if kind == "start":
            self._start(container)
            return 204, None
        if kind == "wait":
            await container.ended.wait()
            return 200, {"StatusCode": container.status}
        if kind == "remove":
            assert query.get("force") in ("true", "True", "1"), query
            self._kill(container)
            del self.containers[container.id]
            self.removed.append(container.name)
            return 204, None
        state = {"Running": container.running, "OOMKilled": container.out_of_memory, "ExitCode": container.status}
        return 200, {"Id": container.id, "Config": {"Tty": container.body["Tty"]}, "State": state}

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        program = self.programs.get(body["Image"])
        if program is None:
            return 404, {"message": f"No such image: {body['Image']}"}
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name), name
        self.created.append(body)
        container = Container(f"id{len(self.created)}", name, body, program)
        self.containers[container.id] = container
        return 201, {"Id": container.id, "Warnings": []}

    def _found(self, name: str) -> Container | None:
        return next((one for one in self.containers.values() if name in (one.id, one.name)), None)

    async def _attach(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        container = self._found(name)
        assert container is not None
        container.reader, container.writer = reader, writer
        writer.write(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        await container.ended.wait()
        with suppress(ConnectionError):
            await writer.drain()

    def _start(self, container: Container) -> None:
        async def run() -> None:
            with suppress(ConnectionError):
                container.status = await container.program(container)
            container.running = False
            container.ended.set()

        container.running = True
        container.started.set()
        task = asyncio.create_task(run(), name=container.id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _kill(self, container: Container) -> None:
        for task in self._tasks:
            if task.get_name() == container.id:
                task.cancel()
        container.status = KILLED
        container.ended.set()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def docker_engine(folder: Path, programs: dict[str, Program]) -> AsyncIterator[tuple[str, FakeDocker]]:
    """Its address, and itself. `folder` needs a short path: sockets have no long ones."""
    engine = FakeDocker(programs)
    path = folder / "docker.sock"
    server = await asyncio.start_unix_server(engine.serve, path=str(path))
    try:
        yield f"unix://{path}", engine
    finally:
        await engine.stop()
        server.close()


def _kind(method: str, path: str) -> str:
    if path == "/version":
        return "version"
    if path == "/containers/create":
        return "create"
    if path == "/containers/json":
        return "list"
    parts = path.split("/")
    assert parts[1] == "containers", path
    if method == "DELETE":
        return "remove"
    return {"json": "inspect"}.get(parts[3], parts[3])


def _answer(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write((head if status != 204 else f"HTTP/1.1 {status} X\r\n\r\n").encode() + content)
