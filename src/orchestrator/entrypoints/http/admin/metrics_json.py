"""The numbers as JSON (fleet contract, Metrics). Times are ms since the epoch, latencies ms."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import ModelNotFound, NotFound
from orchestrator.entrypoints.http.admin.route import admin_router, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.services.history import live

router = admin_router("metrics")
READ = requires(Permission.METRICS_READ)


@router.get("/metrics")
async def metrics(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """Every model on every server, by windows of 1 minute to 24 hours that begin at whole minutes. `global` counts
    since the start of the process; its mean latency and error rate are of the last 5 minutes."""
    service = service_of(request)
    return {"success": True, **await live.everything(service.analytics, service.metrics)}


@router.get(
    "/metrics/prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
)
async def prometheus(request: Request, principal: Principal = READ) -> Response:
    """What `GET /metrics` outside this prefix answers. 404 when `metrics.enabled` is false."""
    service = service_of(request)
    if not service.settings.metrics.enabled:
        raise NotFound("Metrics are switched off (metrics.enabled).")
    content_type, body = await service.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


@router.get("/metrics/{server_id}/{model:path}")
async def of_model(request: Request, server_id: str, model: str, principal: Principal = READ) -> dict[str, Any]:
    """One model on one server. 404 when it has not been asked for there."""
    service = service_of(request)
    try:
        name = service.fleet.resolve(model).name
    except ModelNotFound:
        name = model  # gone from the fleet, and still in the history
    found = await live.of_pair(service.analytics, server_id, name)
    if found is None:
        raise NotFound(f"No metrics of model '{model}' on server '{server_id}'")
    return {"success": True, "serverId": server_id, "model": name, "metrics": found}
