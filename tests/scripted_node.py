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


# The text " three four" as a stream of each dialect, event by event.
STREAMS = {
    "openai": (
        b'data: {"id":"2","choices":[{"index":0,"delta":{"role":"assistant","content":" three"}}]}\n\n',
        b'data: {"id":"2","choices":[{"index":0,"delta":{"content":" four"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ),
    "anthropic": (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"2","role":"assistant","content":[],'
        b'"usage":{"input_tokens":1,"output_tokens":0}}}\n\n',
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":" three four"}}\n\n',
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
        b'"usage":{"output_tokens":2}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    "ollama": (
        b'{"model":"demo","message":{"role":"assistant","content":" three"},"done":false}\n',
        b'{"model":"demo","message":{"role":"assistant","content":" four"},"done":false}\n',
        b'{"model":"demo","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n',
    ),
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
    `close`, the end of the connection. `heads` and `bodies` are those of the POSTs; `sent` counts pieces."""

    def __init__(self, *answer: bytes, close: bool = False) -> None:
        self.answer: Sequence[bytes] = answer
        self.close = close
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.sent = 0
        self._ollama = False
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
        asked = head.partition(b" HTTP/")[0].partition(b"?")[0]
        self._ollama = self._ollama or asked == b"GET /api/tags"
        good = GOOD.get(asked)
        if self._ollama and asked == b"GET /v1/models":
            good = None  # asked as Ollama, it speaks nothing else
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
