"""Models in the memories of the whole fleet: what is loaded, loading and unloading it, and what demand advises.

In paths a model's name may hold `/` and `:`; times are in milliseconds, memory in megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal, may_use_model
from orchestrator.domain.errors import Conflict, Forbidden, InvalidRequest, NoNode, NotFound
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.models import permitted
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.models.residency import Place
from orchestrator.services.models.warmup import Warmup, WarmupStatus

router = admin_router("models")
READ, WRITE = requires(Permission.MODELS_READ), requires(Permission.MODELS_WRITE)
IDLE_MS = 30 * 60 * 1000
MAX_MS = 366 * 24 * 3600 * 1000
POPULAR = 15
MEGABYTE = 1e6


class WarmupBody(Body):
    """`servers`: where; all healthy ones that have the model when left out. `priority` is taken and has no effect: a
    server loads one model at a time."""

    servers: list[str] | None = Field(None, max_length=10_000)
    priority: Literal["low", "normal", "high"] = "normal"


class UnloadBody(Body):
    server_id: str | None = None


class CancelBody(Body):
    job_id: str | None = None


@router.get("/models/status")
async def models_status(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """Every model with the servers that have it, and whether it is in their memory now, as they say themselves.
    `loaded` is null for a server that does not tell."""
    service = service_of(request)
    table = await _table(service, principal)
    places = [place for of_model in table.values() for place in of_model.values()]
    times = [place.load_time for place in places if place.load_time is not None]
    return {
        "success": True,
        "summary": {
            "totalServers": len(service.fleet.nodes),
            "totalModels": len(table),
            "loadedModels": sum(any(one.loaded for one in of_model.values()) for of_model in table.values()),
            "loadingModels": sum(any(one.loading for one in of_model.values()) for of_model in table.values()),
            "averageLoadTime": round(sum(times) / len(times) * 1000) if times else None,
        },
        "models": {
            model: {**_counts(of_model), "servers": {node_id: _place(one) for node_id, one in of_model.items()}}
            for model, of_model in table.items()
        },
    }


@router.get("/models/recommendations")
async def recommendations(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """What measured demand advises: models whose requests wait for loads or in the queue. None without data."""
    service = service_of(request)
    found = [
        {"model": one.model, "kind": one.kind, "reason": one.reason, **one.figures}
        for one in await service.demand.advice()
        if permitted(service.fleet, principal, one.model)
    ]
    return {"success": True, "recommendations": found, "count": len(found)}


@router.get("/models/idle")
async def idle_models(
    request: Request, threshold: Annotated[int, Query(ge=0, le=MAX_MS)] = IDLE_MS, principal: Principal = READ
) -> dict[str, Any]:
    """Models in memory that nobody has used for `threshold` ms: since the last answer, or since they were first seen
    in memory where this process has sent no request to them (`neverUsed`)."""
    service = service_of(request)
    found = [
        {
            "serverId": one.node,
            "model": one.model,
            "idleTime": round(one.seconds * 1000),
            "idleTimeMinutes": round(one.seconds / 60),
            "neverUsed": not one.used,
            "gpuMemory": _megabytes(one.vram),
        }
        for one in await service.fleet_memory.idle(threshold / 1000)
        if permitted(service.fleet, principal, one.model)
    ]
    return {"success": True, "threshold": threshold, "models": found, "count": len(found)}


@router.get("/models/fleet-stats")
async def fleet_stats(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """How widely models are spread: the 15 that most healthy servers have. `percentage` is of the healthy servers."""
    fleet = service_of(request).fleet
    healthy = [node for node in fleet.nodes.values() if node.healthy]
    found = {
        name: servers
        for name, servers in fleet.catalogue.by_model(lambda node_id, model: fleet.nodes[node_id].healthy).items()
        if permitted(fleet, principal, name)
    }
    popular = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:POPULAR]
    return {
        "success": True,
        "totalServers": len(fleet.nodes),
        "healthyServers": len(healthy),
        "totalUniqueModels": len(found),
        "popularModels": [
            {
                "name": name,
                "serverCount": len(servers),
                "percentage": round(100 * len(servers) / len(healthy)),
                "servers": [fleet.nodes[node_id].spec.url for node_id in servers],
            }
            for name, servers in popular
        ],
    }


@router.get("/models/{model:path}/status")
async def model_status(request: Request, model: str, principal: Principal = READ) -> dict[str, Any]:
    """One model: on how many servers it is in memory, loading, failed or not there, and each of them. 404 for a model
    that no server has."""
    service = service_of(request)
    name = _name(service, principal, model)
    places = (await _table(service, principal)).get(name, {})
    return {
        "success": True,
        "model": name,
        "status": _counts(places),
        "servers": {node_id: _place(one) for node_id, one in places.items()},
    }


@router.post("/models/{model:path}/warmup")
async def warm_up(
    request: Request, model: str, body: WarmupBody | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """Begins to load a model in the background; `GET /models/{model}/status` tells how it goes. `estimatedTime` is
    what earlier loads took, null before the first. 400 when no healthy server can do it, 404 for what is unknown."""
    service = service_of(request)
    name = _name(service, principal, model)
    wanted = body.servers if body is not None else None
    if wanted is not None and not wanted:
        raise InvalidRequest("servers must name at least one server, or be left out.")
    try:
        jobs = service.warmups.start(name, wanted)
    except NoNode as error:  # the fleet contract's status
        raise InvalidRequest(error.message, details=error.details) from None
    applicable = [job for job in jobs if job.status is not WarmupStatus.NOT_APPLICABLE]
    if applicable:
        audit(principal, "model.warmup", name, servers=[job.node for job in applicable])
    places = (await _table(service, principal)).get(name, {})
    shown = [places[job.node] for job in jobs if job.node in places]
    return {
        "success": True,
        "model": name,
        "jobs": [_job(job, places.get(job.node)) for job in jobs],
        "summary": {
            "totalServers": len(jobs),
            "loadedOn": sum(bool(one.loaded) for one in shown),
            "loadingOn": sum(one.loading for one in shown),
            "failedOn": sum(bool(one.failure) for one in shown),
        },
    }


@router.post("/models/{model:path}/unload")
async def unload(
    request: Request, model: str, body: UnloadBody | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """Takes a model out of memory, on one server or wherever it is; requests that use it finish first. 404 when it is
    in no memory."""
    service = service_of(request)
    name = _name(service, principal, model)
    wanted = body.server_id if body is not None else None
    if wanted is not None and service.fleet.get(wanted) is None:
        raise NotFound(f"Server '{wanted}' not found")
    places = (await _table(service, principal)).get(name, {})
    chosen = [one for one in places.values() if one.loaded and wanted in (None, one.node)]
    if not chosen:
        where = f"on server '{wanted}'" if wanted is not None else "on any server"
        raise NotFound(f"Model '{name}' is not loaded {where}", details={"model": name})
    movable = [one for one in chosen if not one.always]
    if not movable:
        raise Conflict(f"Model '{name}' is always in memory: an embedded engine holds it as long as it runs.")
    results = []
    for one in movable:
        node = service.fleet.get(one.node)
        error = await service.warmups.unload(node, name) if node is not None else "the server was removed"
        results.append({"serverId": one.node, "success": not error} | ({"error": error} if error else {}))
    done = sum(bool(one["success"]) for one in results)
    audit(principal, "model.unload", name, results=results)
    return {
        "success": True,
        "model": name,
        "results": results,
        "summary": {"totalServers": len(results), "successfullyUnloaded": done, "failed": len(results) - done},
    }


@router.post("/models/{model:path}/cancel")
async def cancel_warm_up(
    request: Request, model: str, body: CancelBody | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """Ends the loads of a model that warm-ups began, or the one with `jobId`. `cancelled` is how many ran."""
    service = service_of(request)
    name = _name(service, principal, model)
    count = service.warmups.cancel(name, body.job_id if body is not None else None)
    if count:
        audit(principal, "model.cancel", name, cancelled=count)
    message = f"{count} warm-ups cancelled" if count else "No warm-up of this model is running"
    return {"success": True, "model": name, "cancelled": count, "message": message}


async def _table(service: HttpService, principal: Principal) -> dict[str, dict[str, Place]]:
    table = await service.fleet_memory.table()
    return {name: places for name, places in table.items() if permitted(service.fleet, principal, name)}


def _name(service: HttpService, principal: Principal, model: str) -> str:
    """The catalogue's name. Raises ModelNotFound, Forbidden, and InvalidRequest for an alias of several models."""
    resolved = service.fleet.resolve(model)
    if principal.models and not may_use_model(principal, model, resolved.names):
        raise Forbidden(f"This key may not use the model '{model}'.")
    if len(resolved.names) != 1:
        raise InvalidRequest(f"'{model}' stands for several models: name one of {', '.join(resolved.names)}.")
    return resolved.names[0]


def _counts(places: Mapping[str, Place]) -> dict[str, int]:
    found = places.values()
    return {
        "totalServers": len(places),
        "loadedOn": sum(bool(one.loaded) for one in found),
        "loadingOn": sum(one.loading for one in found),
        "notLoadedOn": sum(one.loaded is False and not one.loading and not one.failure for one in found),
        "failedOn": sum(bool(one.failure) for one in found),
        "unknownOn": sum(one.loaded is None for one in found),
    }


def _place(one: Place) -> dict[str, Any]:
    return {
        "loaded": one.loaded,
        "loading": one.loading,
        "failed": bool(one.failure),
        "error": one.failure or None,
        "alwaysInMemory": one.always,
        "inUse": one.in_use,
        "lastUsed": milliseconds(one.last_used) if one.last_used is not None else None,
        "loadTime": _span(one.load_time),
        "gpuMemory": _megabytes(one.vram),
        "expiresAt": one.expires_at or None,
    }


def _job(job: Warmup, place: Place | None) -> dict[str, Any]:
    status = job.status.value
    if place is not None and job.status is WarmupStatus.NOT_APPLICABLE and place.always:
        status = "always_in_memory"
    elif place is not None and place.loaded and job.status.running:
        status = WarmupStatus.LOADED.value  # it was there already; the warm-up only renews its keep-alive
    return {
        "serverId": job.node,
        "jobId": job.id,
        "status": status,
        "estimatedTime": 0 if status == WarmupStatus.LOADED else _span(job.estimate),
        "loadTime": _span(job.seconds),
        "error": job.reason or None,
    }


def _span(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds is not None else None


def _megabytes(size: int | None) -> float | None:
    return round(size / MEGABYTE, 1) if size is not None else None
