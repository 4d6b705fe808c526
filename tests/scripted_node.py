"""A node that answers inference with exactly the bytes it is given: for what no honest HTTP server would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

GOOD = {
    b"GET /v1/models": json.dumps({"object": "list", "data": [{"id": "demo", "object": "model"}]}).encode(),
    b"GET /api/tags": json.dumps({"models": [{"name": "demo:latest", "digest": "d"}]}).encode(),
    b"POST /api/show": b"{}",
}


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with a right Content-Length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


def chunked(*pieces: bytes, kind: bytes = b"text/event-stream", end: bytes = b"0\r\n\r\n") -> list[bytes]:
    """A streamed answer: its head, one chunk for each piece, and the end of the framing."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), end]


class ScriptedNode:
    """Of any kind. Health checks are answered well; every other POST gets `answer`, piece by piece, and then, with
    `close`, the end of the connection. `heads` are the request heads that came with a POST, `bodies` their bodies; `sent` counts pieces."""

    def __init__(self, *answer: bytes, close: bool = False) -> None:
        self.answer: Sequence[bytes] = answer
        self.close = close
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.sent = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._one(reader, writer):
                continue
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
        good = GOOD.get(head.partition(b" HTTP/")[0].partition(b"?")[0])
        if good is not None or head.startswith(b"GET "):
            writer.write(whole(good) if good is not None else whole(b"{}", status=b"404 Not Found"))
            return True
        self.heads.append(head)
        self.bodies.append(body)
        for piece in self.answer:
            writer.write(piece)
            await writer.drain()
            self.sent += 1
            await asyncio.sleep(0)
        return not self.close
