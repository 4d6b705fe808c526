"""The admission queue."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.admin.route import admin_router, audit, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.services.gateway import in_flight

router = admin_router("queue")
READ, WRITE = requires(Permission.QUEUE_READ), requires(Permission.QUEUE_WRITE)


@router.get("/queue")
async def get_queue(
    request: Request, limit: Annotated[int, Query(ge=0, le=10_000)] = 100, principal: Principal = READ
) -> dict[str, Any]:
    """Who waits, in the order of being served (the first `limit`), and what is under way. Durations in ms."""
    gateway = service_of(request).gateway
    return {"success": True, "queue": in_flight.queue(gateway, limit), "inFlight": in_flight.by_model(gateway)}


@router.post("/queue/pause")
async def pause_queue(request: Request, principal: Principal = WRITE) -> dict[str, Any]:
    """New requests are turned away (503, Retry-After); who waits keeps its place, and its deadline runs.
    Holds until it is resumed, after a restart too."""
    await service_of(request).switches.pause_queue()
    audit(principal, "queue.pause")
    return {"success": True, "paused": True}


@router.post("/queue/resume")
async def resume_queue(request: Request, principal: Principal = WRITE) -> dict[str, Any]:
    """Takes requests again."""
    await service_of(request).switches.resume_queue()
    audit(principal, "queue.resume")
    return {"success": True, "paused": False}
