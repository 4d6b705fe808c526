"""The models on one server's disk: what is there, pulling, copying, creating and deleting."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, NotFound
from orchestrator.domain.model_job import JobKind
from orchestrator.domain.model_name import key_of, normalise
from orchestrator.domain.node import Dialect
from orchestrator.entrypoints.http.admin.model_jobs import MAX_NAME, Answering, PullBody, answered
from orchestrator.entrypoints.http.admin.route import admin_router, audit, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.node import FleetNode

router = admin_router("models")
READ, WRITE = requires(Permission.MODELS_READ), requires(Permission.MODELS_WRITE)


class CopyBody(Answering):
    """`sourceServerId`: where the model is now, any server when left out. With `destination` the model gets that name
    beside its own, on the same server."""

    model: str = Field(max_length=MAX_NAME)
    source_server_id: str = ""
    destination: str = Field("", max_length=MAX_NAME)


class CreateBody(Answering):
    """Everything else goes to the server as it is: `from`, `files`, `template`, `system`, `parameters`, `quantize` …"""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", allow_inf_nan=False)

    model: str = Field(max_length=MAX_NAME)


@router.get("/servers/{server_id}/models")
async def server_models(request: Request, server_id: str, principal: Principal = READ) -> dict[str, Any]:
    """What the server says now that it has. 404 unknown, 400 when it has no such list, 503 when it is down."""
    service = service_of(request)
    node = _keeper(service, server_id)
    rows = await service.library.tags(node)
    shown = [{name: row.get(name) for name in ("name", "modified_at", "size", "digest", "details")} for row in rows]
    return {"success": True, "serverId": node.id, "serverUrl": node.spec.url, "models": shown, "count": len(shown)}


@router.post("/servers/{server_id}/models/pull", response_model=None)
async def pull(request: Request, server_id: str, body: PullBody, principal: Principal = WRITE) -> Response:
    """Pulls a model to one server. Goes on when the caller leaves. 400, 404, 503."""
    service = service_of(request)
    node = _keeper(service, server_id)
    extra = {"insecure": True} if body.insecure else {}
    job = await service.model_jobs.start(JobKind.PULL, body.model, [node.id], request=extra, who=principal.name)
    return await answered(request, principal, [job], body)


@router.post("/servers/{server_id}/models/copy", response_model=None)
async def copy(request: Request, server_id: str, body: CopyBody, principal: Principal = WRITE) -> Any:
    """Brings a model that another server has to this one. Model servers hand out no files: this server pulls it from
    the registry, and a model that was created on the other one is not there. 400 when the source does not have it."""
    service = service_of(request)
    node = _keeper(service, server_id)
    model = normalise(body.model)
    if body.destination:
        return await _rename(service, principal, node, model, normalise(body.destination))
    if body.source_server_id:
        _check_source(service, body.source_server_id, model)
    elif not any(one != node.id for one in service.fleet.catalogue.nodes(model)):
        raise InvalidRequest(f"No other server has the model '{model}'")
    job = await service.model_jobs.start(JobKind.COPY, model, [node.id], who=principal.name)
    return await answered(request, principal, [job], body)


@router.post("/servers/{server_id}/models/create", response_model=None)
async def create(request: Request, server_id: str, body: CreateBody, principal: Principal = WRITE) -> Response:
    """Creates a model on one server, from one it has or from files uploaded to it. 400, 404, 503."""
    service = service_of(request)
    node = _keeper(service, server_id)
    extra = dict(body.model_extra or {})
    if not extra:
        raise InvalidRequest("Say what to create the model from: from, files or modelfile.")
    job = await service.model_jobs.start(JobKind.CREATE, body.model, [node.id], request=extra, who=principal.name)
    return await answered(request, principal, [job], body)


@router.delete("/servers/{server_id}/models/{model:path}")
async def delete(request: Request, server_id: str, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Deletes a model from a server's disk, and the breaker of the pair. 404 when server or model is unknown."""
    service = service_of(request)
    node = _keeper(service, server_id)
    name = _name_on(service, node, model)
    await service.library.change(node, "DELETE", "/api/delete", {"model": name, "name": name})
    await service.registry.forget_model(node.id, name)
    audit(principal, "model.delete", name, server=node.id)
    return {"success": True, "serverId": node.id, "model": name, "message": f"Model '{name}' is deleted"}


async def _rename(
    service: HttpService, principal: Principal, node: FleetNode, model: str, destination: str
) -> dict[str, Any]:
    source = _name_on(service, node, model)
    await service.library.change(node, "POST", "/api/copy", {"source": source, "destination": destination})
    audit(principal, "model.copy", source, server=node.id, destination=destination)
    message = f"Model '{source}' is also called '{destination}'"
    return {"success": True, "serverId": node.id, "model": destination, "message": message}


def _keeper(service: HttpService, server_id: str) -> FleetNode:
    """Raises NotFound, InvalidRequest for a server without a library, NoNode for one that is down."""
    node = service.fleet.get(server_id)
    if node is not None and node.healthy and Dialect.OLLAMA not in node.dialects:
        raise InvalidRequest(f"Server '{server_id}' is not an Ollama server: it serves what it lists.")
    return service.library.keeper(server_id)


def _check_source(service: HttpService, source: str, model: str) -> None:
    node = service.fleet.get(source)
    if node is None:
        raise NotFound(f"Server '{source}' not found")
    if source not in service.fleet.catalogue.nodes(model):
        raise InvalidRequest(f"Model '{model}' is not on server '{source}'", details={"sourceServerId": source})


def _name_on(service: HttpService, node: FleetNode, model: str) -> str:
    """The name by which the server has it. Raises NotFound."""
    wanted = key_of(normalise(model))
    for entry in node.report.models if node.report is not None else ():
        if key_of(entry.name.lower()) == wanted:
            return entry.name
    raise NotFound(f"Model '{model}' is not on server '{node.id}'", details={"serverId": node.id, "model": model})
