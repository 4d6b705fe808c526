"""What browsers are told of /api/v1 while any origin may call it (`server.cors_origins` has `*`)."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.entrypoints.http.inference import Message, Receive, Scope, Send
from orchestrator.entrypoints.http.tasks.envelope import below_v1

HEADERS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"Content-Type, Authorization, X-API-Key, Idempotency-Key"),
)


class CrossOrigin:
    """ASGI: adds the headers, and answers the browser's question about a call before it makes it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], object]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not below_v1(scope["path"]):
            await self._app(scope, receive, send)  # type: ignore[misc]  # as in `Guard`: Starlette's own types
            return

        async def open_to_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        if scope["method"] == "OPTIONS":
            await open_to_all({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, open_to_all)  # type: ignore[misc]
