"""The HTTP application: the control plane's routes, behind the guard and beside the data plane."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from orchestrator import __version__
from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints.http import (
    admin,
    artifacts,
    failure,
    health,
    mcp,
    metrics,
    models,
    ollama_library,
    ollama_models,
    openapi,
    tools,
)
from orchestrator.entrypoints.http.cross_origin import CrossOrigin
from orchestrator.entrypoints.http.guard import Guard, host_rule, origin_rule
from orchestrator.entrypoints.http.hot import HotRoutes
from orchestrator.entrypoints.http.permission import undeclared
from orchestrator.entrypoints.http.plane import DataPlane
from orchestrator.entrypoints.http.registry import routers as registry
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks import direct
from orchestrator.entrypoints.http.tasks import routers as tasks
from orchestrator.entrypoints.http.tasks.counted import Counted

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
    models.router,
    ollama_models.router,
    ollama_library.router,
    *admin.ROUTERS,
    *tasks.ROUTERS,
    *artifacts.ROUTERS,
    *tools.ROUTERS,
    *mcp.ROUTERS,
    *registry.ROUTERS,
    openapi.router,
)


def control_plane(service: HttpService) -> FastAPI:
    """The FastAPI application. Raises ConfigurationError when a route declares no permission."""
    app = _routed()
    app.state.service = service
    failure.install(app)
    missing = undeclared(app)
    if missing:
        raise ConfigurationError(f"These routes declare no permission: {', '.join(missing)}")
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of every service of this release."""
    return openapi.document(_routed())


def _routed() -> FastAPI:
    # Not by `include_router`, which analyses every route anew for each application.
    return FastAPI(
        title="Orchestrator",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        routes=[route for router in ROUTERS for route in router.routes],
    )


def data_plane(service: HttpService) -> DataPlane:
    server = service.settings.server
    plane = DataPlane(
        service.gateway,
        service.keyring,
        host_rule(server.host, tuple(server.allowed_hosts)),
        origin_rule(tuple(server.cors_origins)),
        max_body=server.max_body,
        max_header=server.max_header,
        keep_alive=server.keep_alive,
        body_timeout=server.header_timeout,
    )
    plane.call = direct.Calls(service).find
    return plane


def application(service: HttpService, plane: DataPlane) -> Guard:
    """The whole ASGI application."""
    control = Counted(HotRoutes(control_plane(service)), service.figures.api)
    open_to_all = "*" in service.settings.server.cors_origins
    limit = artifacts.body_limit(service, plane.max_body)
    return Guard(plane, CrossOrigin(control) if open_to_all else control, limit)
