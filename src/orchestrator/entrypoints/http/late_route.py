"""Routes whose parameters are looked at when they are first called, or written down.

FastAPI does that when a route is declared, about a millisecond for each of three hundred: a quarter of what the service
imports, for routes of which a process serves a few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope


class LateRoute(APIRoute):
    """`route_class` of all our routers. It has its path, its methods and its function from the beginning; the first
    look at anything else makes the rest."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.path = path
        self.endpoint = endpoint
        self.methods = {method.upper() for method in options.get("methods") or ("GET",)}
        self._beginning, parameter, _ = path.partition("{")
        self._constant = not parameter
        self._options: dict[str, Any] | None = options

    def __getattr__(self, name: str) -> Any:
        options = self.__dict__.get("_options")
        if options is None:
            raise AttributeError(name)
        self._options = None
        super().__init__(self.path, self.endpoint, **options)
        return getattr(self, name)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope["path"]
        may_be = path == self._beginning if self._constant else path.startswith(self._beginning)
        return super().matches(scope) if may_be else (Match.NONE, {})
