"""An answer whose body is read while it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from fastapi import Response

from orchestrator.entrypoints.http.inference import Receive, Scope, Send


class ByteAnswer(Response):
    """ASGI. Stops reading when the client leaves; an error midway cuts the connection, which is short of its length."""

    def __init__(self, status: int, headers: Mapping[str, str], first: bytes, rest: AsyncGenerator[bytes]) -> None:
        """`headers` have the Content-Length."""
        super().__init__(status_code=status, headers=headers)
        self.raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for piece in self._rest:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            await self._rest.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
