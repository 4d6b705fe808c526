"""The OpenAPI document: FastAPI's own for the control plane, and the inference paths, which are no routes, by hand."""

from __future__ import annotations

import re
import warnings
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.dialects import ENDPOINTS, Endpoint, Operation
from orchestrator.domain.node import Dialect
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import OPEN_BY_SETTING, OPEN_ROUTES, declared, requires

router = APIRouter(tags=["documentation"], route_class=LateRoute)
READ = requires(Permission.MODELS_READ)

_SENTENCE = re.compile(r"(?:[^.]|\.(?!\s|$))+\.?")
_TITLES = {
    "openai_chat": "Chat completion",
    "openai_completions": "Text completion",
    "openai_embeddings": "Embeddings",
    "openai_responses": "Response",
    "anthropic_messages": "Message",
    "anthropic_count_tokens": "Number of tokens of a message",
    "ollama_generate": "Text completion; with an empty prompt, loads or unloads the model",
    "ollama_chat": "Chat completion; without messages, loads or unloads the model",
    "ollama_embed": "Embeddings of one or several texts",
    "ollama_embeddings": "Embedding of one text",
}
# The fields that the dialect itself asks for; all its others are taken and passed on.
_FIELDS: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string"},
    "messages": {"type": "array", "items": {"type": "object"}},
    "input": {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}]},
    "max_tokens": {"type": "integer", "minimum": 1},
}
_REQUIRED = {
    "openai_chat": ("messages",),
    "openai_completions": ("prompt",),
    "openai_embeddings": ("input",),
    "openai_responses": ("input",),
    "anthropic_messages": ("messages", "max_tokens"),
    "anthropic_count_tokens": ("messages",),
    "ollama_chat": ("messages",),
    "ollama_embed": ("input",),
    "ollama_embeddings": ("prompt",),
}
_STREAMS = {
    Dialect.OPENAI: "text/event-stream",
    Dialect.ANTHROPIC: "text/event-stream",
    Dialect.OLLAMA: "application/x-ndjson",
}
_HEADERS = {
    "X-Request-Timeout": ("integer", "Time for the whole request, in ms; at most 600000."),
    "X-Priority": ("integer", "Place in the queue, 0 to what the key allows."),
    "X-Session-Id": ("string", "A conversation, which keeps its server where the policy does so."),
    "X-Placement-Policy": ("string", "Placement policy of this request, for keys that may choose one."),
    "X-Request-Id": ("string", "Name of the request in answers, logs and history."),
    "X-Include-Debug-Info": ("string", "`true` adds the decision trace."),
}
_ERRORS = {
    "400": "The request is malformed, or uses what no node can do.",
    "401": "No usable key.",
    "403": "The key may not do that.",
    "404": "No node of the fleet has the model.",
    "413": "The body is over the limit.",
    "429": "The key's own limit; Retry-After says how long.",
    "502": "The nodes failed.",
    "503": "All nodes that have the model are full or out; Retry-After says how long.",
    "504": "The request's time is over, or the node did not answer in time.",
}


@router.get("/openapi.json")
async def openapi(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """This service's API as an OpenAPI 3.1 document."""
    return document(request.app)


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document. `x-permission` names what a caller's role has to grant."""
    with warnings.catch_warnings():
        # A route with several methods has one id in FastAPI, which warns of it; `_name` gives each its own.
        warnings.filterwarnings("ignore", message="Duplicate Operation ID")
        found = get_openapi(
            title="Orchestrator",
            version=__version__,
            summary="Routes AI work over a fleet of model servers.",
            routes=app.routes,
        )
    _name(found["paths"])
    for endpoint in ENDPOINTS.values():
        found["paths"][endpoint.path] = {"post": _operation(endpoint)}
        found["paths"][endpoint.path + "--{serverId}"] = {"post": _operation(endpoint, direct=True)}
    found["security"] = [{"bearer": []}, {"apiKey": []}]
    schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["bearer"] = {"type": "http", "scheme": "bearer"}
    schemes["apiKey"] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            _permission(found["paths"], route)
    return found


def _name(paths: dict[str, Any]) -> None:
    """Gives every operation an id of its own, and the first sentence of its docstring as its summary."""
    seen: set[str] = set()
    for operations in paths.values():
        for method, operation in operations.items():
            if operation["operationId"] in seen:
                operation["operationId"] += f"_{method}"
            seen.add(operation["operationId"])
            sentence = _SENTENCE.match(operation.get("description", ""))
            if sentence is not None:
                operation["summary"] = " ".join(sentence[0].rstrip(".").split())


def _permission(paths: dict[str, Any], route: APIRoute) -> None:
    permission = declared(route)
    for method in route.methods or ():
        operation = paths.get(route.path_format, {}).get(method.lower())
        if operation is None:
            continue
        if (method, route.path) in OPEN_ROUTES:
            operation["security"] = []
        elif permission is not None:
            operation["x-permission"] = permission.value
            setting = OPEN_BY_SETTING.get((method, route.path))
            if setting is not None:
                operation["x-open-unless"] = setting


def _operation(endpoint: Endpoint, *, direct: bool = False) -> dict[str, Any]:
    title = _TITLES[endpoint.name]
    operation = {
        "tags": [f"inference ({endpoint.dialect.value})"],
        "summary": f"{title}, on one server" if direct else title,
        "operationId": endpoint.name + ("_direct" if direct else ""),
        "x-permission": Permission.INFERENCE_USE.value,
        "parameters": _parameters(direct),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _request(endpoint)}}},
        "responses": _responses(endpoint),
    }
    if direct:
        operation["description"] = "Goes to the named server and to no other. `bypass` also past breakers and bans."
    return operation


def _parameters(direct: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "header", "description": text, "schema": {"type": kind}}
        for name, (kind, text) in _HEADERS.items()
    ]
    found.append(
        {
            "name": "debug",
            "in": "query",
            "description": "Adds the decision trace to the answer.",
            "schema": {"type": "boolean"},
        }
    )
    if direct:
        found.append({"name": "serverId", "in": "path", "required": True, "schema": {"type": "string"}})
        found.append({"name": "bypass", "in": "query", "schema": {"type": "boolean"}})
    return found


def _request(endpoint: Endpoint) -> dict[str, Any]:
    required = _REQUIRED.get(endpoint.name, ())
    fields: dict[str, Any] = {"model": {"type": "string"}} | {name: _FIELDS[name] for name in required}
    if endpoint.streams:
        fields["stream"] = {"type": "boolean", "default": endpoint.stream_default}
    return {
        "type": "object",
        "required": ["model", *(name for name in required if endpoint.dialect is not Dialect.OLLAMA)],
        "properties": fields,
        "additionalProperties": True,
    }


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if endpoint.streams:
        content[_STREAMS[endpoint.dialect]] = {"schema": {"type": "string"}}
    what = "Numbers" if endpoint.operation is Operation.EMBED else "The answer"
    responses: dict[str, Any] = {"200": {"description": f"{what}, in this dialect's form.", "content": content}}
    for status, text in _ERRORS.items():
        responses[status] = {
            "description": text,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return responses
