"""`/mcp`: each request on its own, so any replica may answer any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from orchestrator.domain.access import Principal
from orchestrator.entrypoints.mcp.server import PRINCIPAL, Listening, Service
from orchestrator.services.artifacts import Artifacts
from orchestrator.services.tool_calls.calls import Calls

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
VERSION = b"mcp-protocol-version"


class Answering:
    """ASGI: what the SDK answers to a request whose principal is known. Host, Origin and size were looked at before."""

    def __init__(
        self, calls: Calls, artifacts: Artifacts, listening: Listening, principal: Principal, max_body: int
    ) -> None:
        self._server = Service(calls, artifacts, listening).server()
        self._principal = principal
        self._max_body = max_body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        scope[PRINCIPAL] = self._principal
        if _before_2026(scope):
            await self._plainly(scope, receive, send)
        else:
            await self._answer(scope, receive, send, plain=False)

    async def _plainly(self, scope: Message, receive: Receive, send: Send) -> None:
        """One JSON body. A client of before 2026 that leaves is noticed here: without sessions it cannot say that it
        calls something off."""
        arrived: asyncio.Queue[Message] = asyncio.Queue()
        answering = asyncio.create_task(self._answer(scope, arrived.get, send, plain=True))

        async def watch() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                arrived.put_nowait(message)

        both = (asyncio.create_task(watch()), answering)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            ended = await asyncio.gather(*both, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):  # such as a body that is too large
                raise error

    async def _answer(self, scope: Message, receive: Receive, send: Send, *, plain: bool) -> None:
        # A manager for each request: without sessions it keeps nothing, and ends with the request.
        manager = StreamableHTTPSessionManager(
            self._server, stateless=True, json_response=plain, max_request_body_size=self._max_body
        )
        async with manager.run():
            await manager.handle_request(scope, receive, send)


def _before_2026(scope: Message) -> bool:
    version = next((value.decode("latin-1") for name, value in scope["headers"] if name == VERSION), None)
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
