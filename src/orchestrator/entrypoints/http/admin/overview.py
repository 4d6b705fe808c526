"""The fleet as a whole: health, numbers, models, what is under way and what was, and draining the service."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query, Request

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import NotFound
from orchestrator.entrypoints.http.admin.breakers import word
from orchestrator.entrypoints.http.admin.route import admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.models import permitted
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway import in_flight
from orchestrator.services.gateway.drain import DrainState

router = admin_router("overview")
HEALTH_READ, MODELS_READ = requires(Permission.HEALTH_READ), requires(Permission.MODELS_READ)
FLEET_READ, FLEET_WRITE = requires(Permission.FLEET_READ), requires(Permission.FLEET_WRITE)
DEFAULT_DRAIN_MS = 30_000
MAX_DRAIN_MS = 24 * 3600 * 1000


@router.get("/health")
async def health(request: Request, principal: Principal = HEALTH_READ) -> dict[str, Any]:
    """How the service is. Uptime in seconds, servers, requests per second over the last minute. Not rate-limited."""
    service = service_of(request)
    nodes = service.fleet.nodes.values()
    return {
        "success": True,
        "status": "draining" if service.gateway.closing else "healthy",
        "uptime": service.clock.epoch - service.started_at,
        "version": __version__,
        "servers": len(nodes),
        "healthyServers": sum(node.healthy for node in nodes),
        "requestsPerSecond": in_flight.requests_per_second(service.gateway),
        "inFlightRequests": sum(node.state.in_flight for node in nodes),
        "queue": {
            "currentSize": len(service.gateway.queue),
            "maxSize": service.gateway.queue.policy.max_size,
            "paused": service.gateway.queue.paused,
        },
    }


@router.post("/health-check")
async def check_health(request: Request, principal: Principal = FLEET_WRITE) -> dict[str, Any]:
    """Probes every server now, and answers when all have been looked at. No probe loads a model."""
    health = service_of(request).health
    nodes = list(service_of(request).fleet.nodes.values())
    places = asyncio.Semaphore(health.rules.concurrency)

    async def check(node: FleetNode) -> None:
        async with places:
            await health.check(node)

    await asyncio.gather(*(check(node) for node in nodes))
    return {
        "success": True,
        "servers": [
            {
                "id": node.id,
                "healthy": node.healthy,
                "lastResponseTime": round(node.report.latency_ms, 1) if node.report is not None else None,
                "models": len(node.entries()),
                "error": None if node.healthy else node.error,
            }
            for node in nodes
        ],
    }


@router.get("/stats")
async def stats(request: Request, principal: Principal = FLEET_READ) -> dict[str, Any]:
    """Counts since the start of the process, and the state of every breaker."""
    service = service_of(request)
    nodes = list(service.fleet.nodes.values())
    pairs = [pair.traffic for node in nodes for pair in node.pairs.values()]
    return {
        "success": True,
        "stats": {
            "totalServers": len(nodes),
            "healthyServers": sum(node.healthy for node in nodes),
            "totalModels": len(service.fleet.catalogue.by_model()),
            "inFlightRequests": sum(node.state.in_flight for node in nodes),
            "queuedRequests": len(service.gateway.queue),
            "requestsPerSecond": in_flight.requests_per_second(service.gateway),
            "totalRequests": sum(service.gateway.outcomes.values()),
            "tokensPrompt": sum(one.prompt_tokens for one in pairs),
            "tokensGenerated": sum(one.completion_tokens for one in pairs),
            "circuitBreakers": {
                breaker.key: {"state": word(breaker.state), "failureCount": breaker.consecutive_failures}
                for breaker in service.fleet.breakers().values()
            },
            "servers": {node.id: _traffic(node) for node in nodes},
            "policy": service.gateway.placement.policy,
        },
    }


@router.get("/in-flight")
async def requests_in_flight(request: Request, principal: Principal = FLEET_READ) -> dict[str, Any]:
    """What every server works on. Prompts and answers only for keys with the permission prompts.read. Times in ms."""
    gateway = service_of(request).gateway
    shown = in_flight.in_flight(gateway, content=allowed(principal, Permission.PROMPTS_READ))
    return {"success": True, "total": sum(one["total"] for one in shown), "inFlight": shown}


@router.get("/model-map")
async def model_map(request: Request, principal: Principal = MODELS_READ) -> dict[str, Any]:
    """Which healthy servers have a model, and which models a server has."""
    service = service_of(request)
    healthy = _models(service, principal)
    by_server = service.fleet.catalogue.by_node()
    return {
        "success": True,
        "modelToServers": healthy,
        "serverToModels": {
            node_id: [name for name in by_server.get(node_id, []) if permitted(service.fleet, principal, name)]
            for node_id in service.fleet.nodes
        },
        "totalModels": len(healthy),
        "totalServers": len(service.fleet.nodes),
    }


@router.get("/models")
async def models(request: Request, principal: Principal = MODELS_READ) -> dict[str, Any]:
    """The models of healthy servers, sorted, with where they are and where they are in memory."""
    service = service_of(request)
    found = _models(service, principal)
    names = sorted(found)
    return {
        "success": True,
        "count": len(names),
        "models": names,
        "details": [_model(service, name, found[name]) for name in names],
    }


@router.get("/requests")
async def finished_requests(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    model: str | None = None,
    server_id: Annotated[str | None, Query(alias="serverId")] = None,
    outcome: str | None = None,
    principal: Principal = FLEET_READ,
) -> dict[str, Any]:
    """The last finished requests, newest first, with every attempt. `outcome` is ok, error or cancelled. In ms."""
    service = service_of(request)
    offset = service.clock.epoch - service.clock.now
    shown: list[dict[str, Any]] = []
    for record in reversed(service.gateway.history):
        if (
            (model is None or record.model == model)
            and (server_id is None or record.node == server_id)
            and (outcome is None or record.outcome == outcome)
        ):
            shown.append(in_flight.finished(record, offset))
            if len(shown) == limit:
                break
    return {"success": True, "count": len(shown), "requests": shown}


@router.get("/requests/{request_id:path}")
async def finished_request(request: Request, request_id: str, principal: Principal = FLEET_READ) -> dict[str, Any]:
    """One finished request, by the id of its X-Request-Id header. 404 when it is not among those kept."""
    service = service_of(request)
    for record in reversed(service.gateway.history):
        if record.id == request_id:
            return {"success": True, "request": in_flight.finished(record, service.clock.epoch - service.clock.now)}
    raise NotFound(f"Request '{request_id}' not found")


@router.get("/drain")
async def drain_state(request: Request, principal: Principal = FLEET_READ) -> dict[str, Any]:
    """Whether the service drains, and how far it is."""
    service = service_of(request)
    return {"success": True, **_drain(service, service.drain.state)}


@router.post("/drain")
async def drain(
    request: Request,
    timeout: Annotated[int, Query(ge=0, le=MAX_DRAIN_MS)] = DEFAULT_DRAIN_MS,
    principal: Principal = FLEET_WRITE,
) -> dict[str, Any]:
    """Turns new requests away (503) and readiness off; those under way finish. `timeout` in ms is how long they are
    waited for before the drain counts as not finished in time; none is cut off. A process that is killed drains again
    after its next start, one that ends in good order does not."""
    service = service_of(request)
    state = await service.switches.drain(timeout / 1000)
    audit(principal, "drain.start", timeout=timeout)
    return {"success": True, "message": "Draining started", "timeout": timeout, **_drain(service, state)}


@router.post("/drain/cancel")
async def cancel_drain(request: Request, principal: Principal = FLEET_WRITE) -> dict[str, Any]:
    """Takes requests again."""
    service = service_of(request)
    if await service.switches.cancel_drain():
        audit(principal, "drain.cancel")
    return {"success": True, "message": "Draining cancelled", **_drain(service, service.drain.state)}


def _drain(service: HttpService, state: DrainState | None) -> dict[str, Any]:
    return {
        "draining": state is not None,
        "finished": state.finished if state is not None else None,
        "started": milliseconds(state.started) if state is not None else None,
        "inFlightRequests": len(service.gateway.active),
    }


def _models(service: HttpService, principal: Principal) -> dict[str, list[str]]:
    """The models of healthy servers that the key may know of, each with its servers."""
    nodes = service.fleet.nodes
    found = service.fleet.catalogue.by_model(lambda node_id, model: nodes[node_id].healthy)
    return {name: servers for name, servers in found.items() if permitted(service.fleet, principal, name)}


def _model(service: HttpService, name: str, servers: list[str]) -> dict[str, Any]:
    entries = service.fleet.catalogue.nodes(name)
    return {
        "name": name,
        "servers": servers,
        "size": service.fleet.catalogue.size_of(name),
        "capabilities": sorted(set[str]().union(*(entry.capabilities for entry in entries.values()))),
        "loadedOn": [node_id for node_id in servers if name in (service.fleet.nodes[node_id].state.loaded or {})],
    }


def _traffic(node: FleetNode) -> dict[str, Any]:
    pairs = [pair.traffic for pair in node.pairs.values()]
    return {
        "healthy": node.healthy,
        "inFlight": node.state.in_flight,
        "requests": sum(one.requests for one in pairs),
        "errors": sum(one.errors for one in pairs),
        "cancelled": sum(one.cancelled for one in pairs),
        "tokensPrompt": sum(one.prompt_tokens for one in pairs),
        "tokensGenerated": sum(one.completion_tokens for one in pairs),
    }
