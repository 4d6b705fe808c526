"""Every route declares what it asks of its caller; one that declares nothing keeps the service from starting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Depends, FastAPI, params
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute

from orchestrator.domain.access import Permission, Principal, Role, allowed, anonymous
from orchestrator.domain.errors import Forbidden

# The only routes that nobody has to show a key for. Inference paths are not routes: the data plane asks for a key.
OPEN_ROUTES = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/ready"),
        ("GET", "/api/v1/health"),
        ("GET", "/"),
        ("HEAD", "/"),
    }
)

# Open as long as the operator says so: the setting that closes each. Closed, they ask for what they declare.
OPEN_BY_SETTING = {("GET", "/metrics"): "metrics.require_auth"}

KEY_WORD = "key."


class Requires:
    """The dependency that a route declares: `Depends(Requires(Permission.FLEET_READ))`."""

    def __init__(self, permission: Permission, *others: Permission) -> None:
        self.permission = permission
        self._others = others

    async def __call__(self, request: HTTPConnection) -> Principal:
        principal = identify(request)
        if not any(allowed(principal, one) for one in (self.permission, *self._others)):
            raise Forbidden(f"This key does not have the permission '{self.permission}'.")
        return principal


class RequiresUnlessOpen(Requires):
    """For the routes of `OPEN_BY_SETTING`. What stands open admits anybody as a viewer."""

    async def __call__(self, request: HTTPConnection) -> Principal:
        if not request.app.state.service.settings.metrics.require_auth:
            return anonymous(Role.VIEWER)
        return await super().__call__(request)


def identify(request: HTTPConnection) -> Principal:
    """Who asks, by HTTP or to open a WebSocket. Raises Unauthenticated.

    A page cannot give a WebSocket headers; it names its key as one of the subprotocols, after `key.`.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in request.scope["headers"]:
        headers.setdefault(name, value)
    for word in request.scope.get("subprotocols", ()):
        if word.startswith(KEY_WORD):
            headers.setdefault(b"x-api-key", word.removeprefix(KEY_WORD).encode("latin-1"))
    peer = request.client.host if request.client else ""
    principal: Principal = request.app.state.service.keyring.authenticate(headers, peer)
    return principal


def requires(permission: Permission, *others: Permission) -> Any:
    """Declares a route's permission, and gives the route its principal. Each of `others` is enough, too."""
    return Depends(Requires(permission, *others))


def requires_unless_open(permission: Permission) -> Any:
    """Declares the permission of a route in `OPEN_BY_SETTING`."""
    return Depends(RequiresUnlessOpen(permission))


def declared(route: BaseRoute) -> Permission | None:
    """The permission that a route declares."""
    found = requirement(route)
    return found.permission if found is not None else None


def requirement(route: BaseRoute) -> Requires | None:
    """What a route asks of its caller."""
    if not isinstance(route, APIRoute | APIWebSocketRoute):
        return None
    return next((call for call in _stated(route) if isinstance(call, Requires)), None)


def _stated(route: APIRoute | APIWebSocketRoute) -> Iterator[Callable[..., Any] | None]:
    """What a route depends on: first what its function says, for which the route need not be made."""
    function = route.endpoint
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        if isinstance(default, params.Depends):
            yield default.dependency
    yield from _walk(route.dependant)


def _walk(dependant: Any) -> Iterator[Callable[..., Any] | None]:
    yield dependant.call
    for child in dependant.dependencies:
        yield from _walk(child)


def undeclared(app: FastAPI) -> list[str]:
    """Routes that are neither open by the list above nor declare a permission: a mistake of ours, found at start."""
    missing = []
    for route in app.routes:
        for method in getattr(route, "methods", None) or {"WEBSOCKET"}:
            path = getattr(route, "path", "")
            if method != "HEAD" and (method, path) not in OPEN_ROUTES and declared(route) is None:
                missing.append(f"{method} {path}")
    return missing
