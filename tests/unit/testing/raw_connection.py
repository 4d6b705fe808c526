"""A client connection that sees every byte, and how the connection ended.

On a socket and not on asyncio's streams: those forget what they have buffered when a reset arrives.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

LIMIT = 10


class Raw:
    """A connection to `host:port`."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.buffer = b""

    async def connect(self, host: str, port: int) -> None:
        await asyncio.get_running_loop().sock_connect(self.socket, (host, port))

    def send(self, data: bytes) -> None:
        """Send all of `data`, which must fit into the socket's buffer."""
        assert self.socket.send(data) == len(data)

    def post(self, path: str, body: dict[str, Any], *headers: str) -> None:
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: test", f"content-length: {len(data)}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def close(self) -> None:
        self.socket.close()

    def abort(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def more(self) -> bool:
        """Read some more; whether there was more."""
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 1 << 18), LIMIT)
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self.buffer:
            assert await self.more(), f"the connection ended before {mark!r}"
        got, _, self.buffer = self.buffer.partition(mark)
        return got + mark

    async def exactly(self, size: int) -> bytes:
        parts, missing = [self.buffer], size - len(self.buffer)
        while missing > 0:
            self.buffer = b""
            assert await self.more(), f"the connection ended {missing} bytes early"
            parts.append(self.buffer)
            missing -= len(self.buffer)
        got = b"".join(parts)
        self.buffer = got[size:]
        return got[:size]

    async def to_end(self) -> tuple[bytes, str]:
        """Everything up to the end of the connection, and "fin" or "rst"."""
        end = "fin"
        try:
            while await self.more():
                continue
        except ConnectionResetError:
            end = "rst"
        return self.buffer, end

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a content length or chunks."""
        first, *lines = (await self.until(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if "content-length" in headers:
            body = await self.exactly(int(headers["content-length"]))
        else:
            body = b"".join(await self.chunks())
        return int(first.split()[1]), headers, body

    async def chunks(self) -> list[bytes]:
        """The chunks of a body, as they were cut."""
        chunks = []
        while size := int(await self.until(b"\r\n"), 16):
            chunks.append((await self.exactly(size + 2))[:-2])
        await self.exactly(2)
        return chunks


Connect: TypeAlias = Callable[[], Coroutine[Any, Any, Raw]]
