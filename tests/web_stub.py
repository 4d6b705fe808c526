"""A web server that notes what it is sent, byte for byte, and answers as the test says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sent:
    """One request. Header names are lower case; `lines` are the header lines as they came."""

    method: str
    path: str
    headers: Mapping[str, str]
    lines: tuple[str, ...]
    body: bytes


@dataclass(frozen=True)
class Page:
    """One answer; `cut`: the connection ends in the middle of it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Answerer = Callable[[Sent], Page | None]  # None: it never answers


@dataclass
class WebStub:
    answer: Answerer
    port: int = 0
    sent: list[Sent] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def web_stub(answer: Answerer | Page, host: str = "127.0.0.1") -> AsyncIterator[WebStub]:
    """One on a free port."""
    stub = WebStub(answer if callable(answer) else lambda _sent: answer)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        connections.add(own)
        own.add_done_callback(connections.discard)
        stub.connections += 1
        try:
            while await _one(stub, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()
        for connection in list(connections):
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _one(stub: WebStub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    sent = Sent(method, path, headers, tuple(lines), body)
    stub.sent.append(sent)
    page = stub.answer(sent)
    if page is None:
        await asyncio.Event().wait()
        return False
    said = "".join(f"{name}: {value}\r\n" for name, value in page.headers.items())
    content = b"" if method == "HEAD" else page.body
    writer.write(f"HTTP/1.1 {page.status} Said\r\n{said}Content-Length: {len(page.body)}\r\n\r\n".encode())
    writer.write(content[: len(content) // 2] if page.cut else content)
    await writer.drain()
    return not page.cut
