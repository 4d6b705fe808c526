"""Counts the calls of /api/v1 and tells each how long it took."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from orchestrator.entrypoints.http.inference import Message, Receive, Scope, Send
from orchestrator.entrypoints.http.tasks.envelope import below_v1
from orchestrator.services.tasks.figures import ApiFigures

UNMATCHED = "unmatched"


class Counted:
    """ASGI."""

    def __init__(self, app: Callable[[Scope, Receive, Send], object], figures: ApiFigures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not below_v1(scope["path"]):
            await self._app(scope, receive, send)  # type: ignore[misc]  # as in `Guard`: Starlette's own types
            return
        begun = perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = perf_counter() - begun
                message["headers"] = [*message["headers"], (b"x-response-time", b"%.3fs" % seconds)]
                path = getattr(scope.get("route"), "path", UNMATCHED)
                self._figures.count(scope["method"], path, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, counted)  # type: ignore[misc]
