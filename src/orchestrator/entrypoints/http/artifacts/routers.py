"""The routers of artifacts, in the order in which paths are tried."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from orchestrator.entrypoints.http.artifacts import content, contract, listing, sessions
from orchestrator.entrypoints.http.inference import Scope
from orchestrator.entrypoints.http.service import HttpService

ROUTERS: tuple[APIRouter, ...] = (contract.router, sessions.router, content.router, listing.router)
FORM_ROOM = 1 << 20  # bytes that a form may have besides the file


def body_limit(service: HttpService, usual: int) -> Callable[[Scope], int]:
    """How large the body of a request may be: the usual limit, but for the calls that bring an artifact's bytes, which
    are never held in memory."""
    most = service.artifacts

    def limit(scope: Scope) -> int:
        path, method = scope["path"].rstrip("/"), scope.get("method")
        if (method == "POST" and path == content.PATH) or (method == "PATCH" and path.startswith(sessions.PATH)):
            return max(usual, most.rules.max_size + FORM_ROOM)
        return usual

    return limit
