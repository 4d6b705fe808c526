"""Ollama's routes that tell something: lists, versions, details."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from orchestrator import __version__
from orchestrator.domain.access import Principal, may_use_model
from orchestrator.domain.errors import Forbidden, InvalidRequest
from orchestrator.domain.model_name import check
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.models import LISTS_MODELS, permitted, servable, service_of

router = APIRouter(tags=["ollama"], route_class=LateRoute)

PS_SECONDS = 2.0


@router.api_route("/", methods=["GET", "HEAD"])
async def root(request: Request) -> Response:
    """What Ollama's clients look for. On a listener of the dialect `registry`, and for who accepts nothing but JSON, an
    object: `name`, `message`, `version`, `docs`, `health`."""
    if not (_is_registry(request) or _json_only(request.headers.get("accept", ""))):
        return PlainTextResponse("Ollama is running")
    told = {"name": "Orchestrator", "message": "Orchestrator is running", "version": __version__}
    return JSONResponse(told | {"docs": "/docs", "health": "/health"})


def _is_registry(request: Request) -> bool:
    """Whether it came in by a listener for the registry's clients."""
    _, port = request.scope.get("server") or ("", None)
    listeners = service_of(request).settings.server.listeners
    return any(one.port == port and one.dialect == "registry" for one in listeners)


def _json_only(accept: str) -> bool:
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return types == {"application/json"}


@router.api_route("/api/version", methods=["GET", "HEAD"])
async def version(request: Request, principal: Principal = LISTS_MODELS) -> dict[str, str]:
    """`version`: the newest of the fleet's Ollama servers; `orchestrator`: ours."""
    return {"version": service_of(request).library.version(), "orchestrator": __version__}


@router.api_route("/api/tags", methods=["GET", "HEAD"])
async def tags(request: Request, principal: Principal = LISTS_MODELS) -> dict[str, Any]:
    """`{models: [...]}`: one row per model that this key may use and that some node can serve now, with the node's own
    fields and `servers`, the ids of those nodes. Comes from the catalogue: no node is asked."""
    fleet = service_of(request).fleet
    rows = fleet.catalogue.tags(servable(fleet))
    return {"models": [row for row in rows if permitted(fleet, principal, row["name"])]}


@router.get("/api/ps")
async def ps(request: Request, principal: Principal = LISTS_MODELS) -> dict[str, Any]:
    """`{models: [...]}`: what healthy nodes hold in memory, with the node's own fields and `server`, its id. Asks the
    nodes, for at most 2 s; of one that is slower, what its last probe saw."""
    service = service_of(request)
    loaded = await service.library.loaded(PS_SECONDS)
    rows = [
        {"model": one.name, **one.raw, "server": node.id}
        for node, one in loaded
        if permitted(service.fleet, principal, one.name)
    ]
    return {"models": rows}


@router.post("/api/show")
async def show(request: Request, principal: Principal = LISTS_MODELS) -> Response:
    """Details of `model` (or `name`, as older clients say), as a node that has it tells them. For a model that no
    Ollama server has: `{details, model_info, modelfile, template, parameters}` as far as its server tells."""
    service = service_of(request)
    body = await json_body(request)
    given = body.get("model") or body.get("name")
    if not isinstance(given, str):
        raise InvalidRequest("model is required")
    name = check(given)
    resolved = service.fleet.resolve(name)
    if not may_use_model(principal, name, resolved.names):
        raise Forbidden(f"This key may not use the model '{name}'.")
    answer = await service.library.show(resolved.name, body)
    return Response(answer.body, answer.status, media_type=answer.headers.get("content-type", "application/json"))


async def json_body(request: Request) -> dict[str, Any]:
    """The body whatever its Content-Type: `curl -d` sends a form's. Raises InvalidRequest."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body
