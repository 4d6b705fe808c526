"""Worker nodes that ask for their tasks and report in batches; a program of its own, run by `benchmarks.tasks`.

    python -m benchmarks.tasks_pullers --port P --nodes 8 --limit 200 --seconds 600

The key comes in BENCH_TASKS_KEY. Each node has one connection for asking and one for reporting: it asks again while it
reports, and reports everything that has come meanwhile in one call.
"""

from __future__ import annotations

import argparse
import asyncio
import os

import msgspec
import uvloop

from benchmarks.tasks_service import KEY_VARIABLE

WAIT = 5.0  # seconds


class Given(msgspec.Struct):
    task_id: str
    attempt: int


class Pulled(msgspec.Struct):
    tasks: list[Given]


class Connection:
    """Keep-alive; one request at a time."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(port, *await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    async def post(self, path: str, body: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {os.environ[KEY_VARIABLE]}"
        )
        head += f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        got = await self._reader.readexactly(length)
        if not answer.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{path}: {answer[:40]!r} {got[:300]!r}")
        return got


class Node:
    """Tasks that were given and not reported yet are in `_given`."""

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._given: list[Given] = []
        self._more = asyncio.Event()

    async def run(self, port: int) -> None:
        asking, reporting = await Connection.open(port), await Connection.open(port)
        registration = {"mode": "pull", "max_concurrency": 2 * self._limit, "capabilities": ["bench"]}
        await asking.post(f"/api/v1/nodes/{self._name}/register", msgspec.json.encode(registration))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask(asking))
            group.create_task(self._report(reporting))

    async def _ask(self, connection: Connection) -> None:
        path = f"/api/v1/nodes/{self._name}/tasks/pull"
        body = msgspec.json.encode({"limit": self._limit, "wait": WAIT})
        decode = msgspec.json.Decoder(Pulled).decode
        while True:
            pulled = decode(await connection.post(path, body))
            self._given.extend(pulled.tasks)
            self._more.set()

    async def _report(self, connection: Connection) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            given, self._given = self._given, []
            if given:
                results = [
                    {
                        "task_id": one.task_id,
                        "attempt": one.attempt,
                        "node_id": self._name,
                        "status": "completed",
                        "result_data": {"ok": True},
                    }
                    for one in given
                ]
                answer = await connection.post("/api/v1/tasks/results", msgspec.json.encode({"results": results}))
                if b'"success":false' in answer:
                    raise RuntimeError(f"a report was refused: {answer[:300]!r}")


async def run(port: int, nodes: int, limit: int, seconds: float) -> None:
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        for number in range(nodes):
            group.create_task(Node(f"puller-{number}", limit).run(port))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks_pullers")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    uvloop.run(run(arguments.port, arguments.nodes, arguments.limit, arguments.seconds))


if __name__ == "__main__":
    main()
