"""What the routes of the registry share. They are at the root of the service, with and without a slash at the end.

Answers are the bare rows of the registry's contract, times in ISO 8601 (UTC). Errors are FastAPI's, as that system's
clients know them (`{"detail": ...}`, 422 with the list of problems), with our own fields beside.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.entrypoints.http import failure
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import identify
from orchestrator.entrypoints.http.service import HttpService

MOST = 10_000  # rows in an answer
TIMES = ("created_at", "updated_at", "oldest_artifact", "newest_artifact", "last_used")
_encode = msgspec.json.Encoder().encode
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

Skip = Annotated[int, Query(ge=0, lt=INTEGER_LIMIT, description="Rows to pass over.")]
Limit = Annotated[int, Query(ge=0, le=MOST, description="Rows in the answer.")]
LISTED, REPORTED = 100, 1_000  # rows unless the caller says something else


class RegistryRoute(LateRoute):
    """Looks at no body before the key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def known(request: Request) -> Response:
            try:
                identify(request)
            except OrchestratorError as error:
                return failure.answer(request, error)
            return await handle(request)

        return known


def registry_router(tag: str) -> APIRouter:
    return APIRouter(tags=[tag], route_class=RegistryRoute)


def both(router: APIRouter, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    """Serves a path with and without its last slash: a redirect would lose the body of some clients."""

    def register(endpoint: Endpoint) -> Endpoint:
        router.add_api_route(path, endpoint, methods=[method])
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        router.add_api_route(other, endpoint, methods=[method], include_in_schema=False)
        return endpoint

    return register


def service_of(request: Request) -> HttpService:
    service: HttpService = request.app.state.service
    return service


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def answer(body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), media_type="application/json", headers=dict(headers or {}))


def rows(found: Iterable[Mapping[str, Any]]) -> Response:
    """An array of rows, with their times as text."""
    return answer([_shown(row) for row in found])


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if name in TIMES and value is not None else value for name, value in row.items()}
