"""The calls that every task makes, those that a console repeats, and every part of a file, past the framework: looking
a path up among hundreds of routes and resolving its dependencies costs more than all that the route itself does.

What is called is the route's own function, with the permission that it declares and with the values that the framework
reads from the query; the framework still has the routes, for the OpenAPI document, for whatever is not found here and
for queries that are refused.
"""

from __future__ import annotations

from re import Pattern
from typing import Any

from fastapi import FastAPI, Request
from fastapi.dependencies.utils import request_params_to_args
from fastapi.routing import APIRoute

from orchestrator.domain.errors import OrchestratorError
from orchestrator.entrypoints.http import failure
from orchestrator.entrypoints.http.artifacts import content
from orchestrator.entrypoints.http.inference import Receive, Scope, Send
from orchestrator.entrypoints.http.permission import Requires, requirement
from orchestrator.entrypoints.http.tasks import node_tasks, tasks
from orchestrator.entrypoints.http.tasks.envelope import below_v1

HOT = (
    tasks.submit,
    tasks.submit_batch,
    tasks.list_tasks,
    tasks.get_task,
    node_tasks.report,
    node_tasks.report_many,
    node_tasks.pull,
    content.content,
)
Found = tuple[APIRoute, Requires]


class HotRoutes:
    """ASGI: the hot calls here, everything else in the application."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._plain: dict[tuple[str, str], Found] = {}  # by method and path
        self._patterns: dict[str, list[tuple[Pattern[str], Found]]] = {}  # by method
        self._words = {route.path for route in app.routes if isinstance(route, APIRoute) and "{" not in route.path}
        for route in (*tasks.router.routes, *node_tasks.router.routes, *content.router.routes):
            wanted = requirement(route)
            if not isinstance(route, APIRoute) or wanted is None or route.endpoint not in HOT:
                continue
            for method in route.methods or ():
                if "{" in route.path:
                    self._patterns.setdefault(method, []).append((route.path_regex, (route, wanted)))
                else:
                    self._plain[method, route.path] = (route, wanted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, wanted, values = found
        scope["app"], scope["route"] = self._app, route
        request = Request(scope, receive)
        asked, errors = request_params_to_args(route.dependant.query_params, request.query_params)
        if errors:
            await self._app(scope, receive, send)
            return
        try:
            answer = await route.endpoint(request, **values, **asked, principal=await wanted(request))
        except OrchestratorError as error:
            answer = failure.answer(request, error)
        except Exception as error:  # noqa: BLE001 - process edge: logged whole
            answer = failure.bug(request, error)
        await answer(scope, receive, send)

    def _find(self, method: str, path: str) -> tuple[APIRoute, Requires, dict[str, Any]] | None:
        if not below_v1(path):
            return None
        plain = self._plain.get((method, path))
        if plain is not None:
            return *plain, {}
        if path in self._words:  # another route's, though a name could be there
            return None
        for pattern, found in self._patterns.get(method, ()):
            match = pattern.match(path)
            if match is not None:
                return *found, match.groupdict()
        return None
