"""`/mcp`: this service as an MCP server, by streamable HTTP without sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import NotAvailable
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import service_of

router = APIRouter(tags=["mcp"], route_class=LateRoute)
PATH = "/mcp"
READ = requires(Permission.TOOLS_READ)
MISSING = "MCP is not installed here: it needs orchestrator[mcp]."


class Handed(Response):
    """An answer that somebody else gives."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


@router.post(PATH)
async def answer_message(request: Request, principal: Principal = READ) -> Response:
    """One message of the Model Context Protocol, revisions 2024-11-05 to 2026-07-28."""
    service = service_of(request)
    answering = (await sdk()).Answering
    limit = service.settings.server.max_body
    listening = (service.list_changes, service.stopping)
    return Handed(answering(service.tool_calls, service.artifacts, listening, principal, limit))


@router.get(PATH)
async def open_stream(request: Request, principal: Principal = READ) -> Response:
    """405: revisions of before 2026-07-28 are told nothing that they did not ask for."""
    return _refused()


@router.delete(PATH)
async def end_session(request: Request, principal: Principal = READ) -> Response:
    """405: there are no sessions."""
    return _refused()


async def sdk() -> Any:
    """What answers. It is loaded with the first message, beside the event loop. Raises NotAvailable."""
    try:
        return await asyncio.to_thread(import_module, "orchestrator.entrypoints.mcp.http")
    except ImportError as error:
        raise NotAvailable(MISSING, details={"extra": "mcp"}) from error


def _refused() -> Response:
    return Response(status_code=405, headers={"Allow": "POST"})
