"""Model servers: which there are, adding, changing and removing them, and keeping traffic from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from fastapi import Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Conflict, Forbidden, InvalidRequest
from orchestrator.domain.node import AdminState, Dialect, LoadedModel, NodeKind, NodeSource, NodeSpec
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.services.fleet.estimate import seconds_to_finish
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.fleet.registry import validate
from orchestrator.settings import MASK

router = admin_router("servers")
READ, WRITE = requires(Permission.FLEET_READ), requires(Permission.FLEET_WRITE)


class ServerChange(Body):
    """What may be changed of a server. Absent: as it is; `apiKey` null removes the key."""

    url: str | None = None
    kind: NodeKind | None = None
    max_concurrency: int | None = None
    api_key: str | None = Field(None, max_length=4096)
    weight: float | None = None
    labels: dict[str, str] | None = Field(None, max_length=100)
    models: list[str] | None = Field(None, max_length=10_000)


class NewServer(ServerChange):
    """`type` is the fleet contract's word for `kind`; `priority` and `tags` are taken and change nothing."""

    id: str | None = None
    type: Literal["ollama", "openai", "anthropic", "llamacpp", "demo", "auto"] | None = None
    priority: Any = None
    tags: Any = None


class Maintenance(Body):
    enabled: bool = True
    reason: str = Field("", max_length=1000)


class Reason(Body):
    reason: str = Field("", max_length=1000)


@router.get("/servers")
async def list_servers(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """All servers. `lastResponseTime` in ms, null before the first good probe; keys are never shown."""
    nodes = service_of(request).fleet.nodes.values()
    return {"success": True, "count": len(nodes), "servers": [server(node) for node in nodes]}


@router.post("/servers/add")
async def add_server(request: Request, body: NewServer, principal: Principal = WRITE) -> dict[str, Any]:
    """Registers a server and probes it. Without `kind` the server is asked what it is.

    400 for a missing or wrong field, 403 for an `env:` key without config.write, 409 for an id or URL that is taken.
    """
    service = service_of(request)
    if not body.id or not body.url:
        raise InvalidRequest("id and url are required")
    _check_reference(principal, body.api_key)
    named = body.kind or (NodeKind(body.type) if body.type not in (None, "auto") else None)
    spec = validate(
        NodeSpec(
            id=body.id,
            url=body.url,
            kind=named or NodeKind.OLLAMA,
            max_concurrency=_given(body.max_concurrency, service.settings.load_balancer.default_max_concurrency),
            api_key=body.api_key or None,
            weight=_given(body.weight, 1.0),
            labels=body.labels or {},
            models=tuple(body.models or ()),
            source=NodeSource.API,
        )
    )
    if named is None and spec.id not in service.fleet.nodes:
        timeout = service.settings.health_check.timeout
        spec = replace(spec, kind=await service.identifier.kind_of(spec, timeout))
    try:
        node = await service.registry.register(spec)
    except Conflict as error:
        if "existingServerId" in error.details:
            error.details["requestedUrl"] = body.url
        raise
    audit(principal, "server.add", node.id, url=node.spec.url, kind=node.spec.kind)
    return {
        "success": True,
        "id": node.id,
        "url": node.spec.url,
        "maxConcurrency": node.spec.max_concurrency,
        "kind": node.spec.kind.value,
        "type": node.spec.kind.value,
    }


@router.get("/servers/{server_id}")
async def get_server(request: Request, server_id: str, principal: Principal = READ) -> dict[str, Any]:
    """One server. 404."""
    return {"success": True, "server": server(service_of(request).registry.node(server_id))}


@router.patch("/servers/{server_id}")
async def change_server(
    request: Request, server_id: str, body: ServerChange, principal: Principal = WRITE
) -> dict[str, Any]:
    """Changes a registration; the change outlives the configuration file's word. 400, 404.

    403 without config.write for an `env:` key, and for another URL of a server whose key is not given anew.
    """
    given = body.model_dump(include=body.model_fields_set)
    removes_key = "api_key" in given and not given["api_key"]
    changes = {name: value for name, value in given.items() if value is not None}
    if removes_key:
        changes["api_key"] = None
    if "models" in changes:
        changes["models"] = tuple(changes["models"])
    service = service_of(request)
    node = service.registry.node(server_id)
    _check_reference(principal, body.api_key)
    if changes.get("url", node.spec.url) != node.spec.url and "api_key" not in given:
        _check_move(principal, node)
    if not changes:
        raise InvalidRequest("Nothing to change: give maxConcurrency, weight, labels, url, kind, models or apiKey.")
    node = await service.registry.update(server_id, **changes)
    audit(principal, "server.change", node.id, fields=sorted(changes))
    return {"success": True, "id": node.id, "maxConcurrency": node.spec.max_concurrency, "server": server(node)}


@router.delete("/servers/{server_id}")
async def remove_server(request: Request, server_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Removes a server with its breakers; requests that it serves now may finish. 404."""
    await service_of(request).registry.unregister(server_id)
    audit(principal, "server.remove", server_id)
    return {"success": True, "id": server_id}


@router.post("/servers/{server_id}/drain")
async def drain_server(
    request: Request, server_id: str, body: Reason | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """No new traffic; requests under way finish. `estimatedCompletion` in ms since the epoch. 404."""
    service = service_of(request)
    reason = body.reason if body is not None else ""
    node = await service.registry.set_state(server_id, AdminState.DRAINING, reason)
    audit(principal, "server.drain", server_id, reason=reason)
    return {
        "success": True,
        "message": f"Server {server_id} is draining",
        "serverId": server_id,
        "inFlightRequests": node.state.in_flight,
        "estimatedCompletion": milliseconds(service.clock.epoch + seconds_to_finish(node)),
    }


@router.post("/servers/{server_id}/undrain")
async def undrain_server(request: Request, server_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Takes a drained server, or one in maintenance, back. 404."""
    await service_of(request).registry.set_state(server_id, AdminState.ACTIVE)
    audit(principal, "server.undrain", server_id)
    return {"success": True, "message": f"Server {server_id} takes traffic again", "serverId": server_id}


@router.post("/servers/{server_id}/maintenance")
async def maintain_server(
    request: Request, server_id: str, body: Maintenance | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """Takes a server out for maintenance (`enabled` true, the default) or back. 404."""
    wanted = body or Maintenance()
    state = AdminState.MAINTENANCE if wanted.enabled else AdminState.ACTIVE
    node = await service_of(request).registry.set_state(server_id, state, wanted.reason if wanted.enabled else "")
    audit(principal, "server.maintenance", server_id, enabled=wanted.enabled, reason=wanted.reason)
    return {
        "success": True,
        "message": f"Server {server_id} is {'in maintenance' if wanted.enabled else 'back from maintenance'}",
        "serverId": server_id,
        "maintenance": wanted.enabled,
        "reason": node.spec.admin_reason,
        "inFlightRequests": node.state.in_flight,
    }


def server(node: FleetNode) -> dict[str, Any]:
    """A server as lists show it."""
    spec, report = node.spec, node.report
    names = [entry.name for entry in node.entries()]
    speaks_v1 = Dialect.OPENAI in node.dialects
    loaded = report.loaded if report is not None else None
    shown: dict[str, Any] = {
        "id": node.id,
        "url": spec.url,
        "kind": spec.kind.value,
        "type": spec.kind.value,
        "healthy": node.healthy,
        "error": None if node.healthy else node.error,
        "lastResponseTime": round(report.latency_ms, 1) if report is not None else None,
        "lastProbe": milliseconds(node.probed_at) if node.probed_at else None,
        "models": names,
        "maxConcurrency": spec.max_concurrency,
        "inFlight": node.state.in_flight,
        "version": report.version if report is not None else "",
        "supportsOllama": Dialect.OLLAMA in node.dialects,
        "supportsV1": speaks_v1,
        "supportsAnthropic": Dialect.ANTHROPIC in node.dialects,
        "v1Models": names if speaks_v1 else [],
        "draining": spec.admin_state is AdminState.DRAINING,
        "maintenance": spec.admin_state is AdminState.MAINTENANCE,
        "reason": spec.admin_reason,
        "since": milliseconds(spec.admin_since) if spec.admin_since else None,
        "weight": spec.weight,
        "labels": dict(spec.labels),
        "source": spec.source.value,
        "loaded": None if loaded is None else [_loaded(one) for one in loaded],
    }
    if spec.api_key is not None:
        shown["apiKey"] = MASK
    return shown


def _check_reference(principal: Principal, key: str | None) -> None:
    """A reference names any variable of this process, and sends its value to the server."""
    if key is not None and key.startswith("env:") and not allowed(principal, Permission.CONFIG_WRITE):
        raise Forbidden("Only a key with the permission config.write may name a variable of this service.")


def _check_move(principal: Principal, node: FleetNode) -> None:
    """A key that somebody else entered is not sent to another address."""
    if node.spec.api_key is not None and not allowed(principal, Permission.CONFIG_WRITE):
        raise Forbidden("This server has a key: give apiKey anew with the new url.")


def _loaded(one: LoadedModel) -> dict[str, Any]:
    return {"name": one.name, "size": one.size, "sizeVram": one.size_vram, "expiresAt": one.expires_at or None}


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
