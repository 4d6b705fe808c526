"""Liveness and readiness, open to everybody; they tell nothing that an attacker could use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from orchestrator import __version__
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.service import HttpService

router = APIRouter(tags=["health"], route_class=LateRoute)


def _service(request: Request) -> HttpService:
    service: HttpService = request.app.state.service
    return service


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """The process answers: status, uptime in seconds, and counts of the fleet. Always 200."""
    service = _service(request)
    fleet = service.fleet
    return {
        "status": "ok",
        "version": __version__,
        "uptime": service.clock.epoch - service.started_at,
        "timestamp": service.clock.timestamp(),
        "orchestrator": {
            "totalServers": len(fleet.nodes),
            "healthyServers": sum(node.healthy for node in fleet.nodes.values()),
            "totalModels": len(fleet.catalogue.by_model()),
            "inFlightRequests": sum(node.state.in_flight for node in fleet.nodes.values()),
            "circuitBreakers": {
                breaker.key: {"state": breaker.state.value, "failureCount": breaker.consecutive_failures}
                for breaker in fleet.breakers().values()
            },
        },
    }


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 while the event loop turns."""
    return {"status": "ok"}


@router.get("/health/ready")
@router.get("/ready")
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """200 when traffic is welcome: not shutting down, the database answers, a node is healthy. 503 with the reason."""
    service = _service(request)
    healthy = sum(node.healthy for node in service.fleet.nodes.values())
    reason = ""
    if not service.ready or service.gateway.closing:
        reason = "shutting down"
    elif not healthy:
        reason = "no healthy servers"
    else:
        try:
            await service.storage.ping()
        except StorageUnavailable as error:
            reason = error.message
    if reason:
        response.status_code = 503
        return {"status": "not_ready", "reason": reason, "totalServers": len(service.fleet.nodes)}
    return {"status": "ready", "healthyServers": healthy}
