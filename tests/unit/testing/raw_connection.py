"""A client connection that sees every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass
class Raw:
    """A raw connection: what was read, and how it ended."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def post(self, path: str, body: dict[str, Any], *headers: str) -> None:
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: test", f"content-length: {len(data)}", *headers]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)

    async def to_end(self) -> tuple[bytes, str]:
        """Everything up to the end of the connection, and "fin" or "rst"."""
        got = b""
        try:
            while data := await asyncio.wait_for(self.reader.read(65536), 10):
                got += data
        except ConnectionResetError:
            return got, "rst"
        return got, "fin"

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a content length or chunks."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = b"".join(await self.chunks())
        return int(first.split()[1]), headers, body

    async def chunks(self) -> list[bytes]:
        """The chunks of a body, as they were cut."""
        chunks = []
        while size := int(await asyncio.wait_for(self.reader.readline(), 10), 16):
            chunks.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return chunks


Connect: TypeAlias = Callable[[], Coroutine[Any, Any, Raw]]
