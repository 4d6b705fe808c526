"""Prometheus metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from orchestrator.domain.access import Permission
from orchestrator.domain.errors import NotFound
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import requires_unless_open
from orchestrator.entrypoints.http.service import HttpService

router = APIRouter(tags=["metrics"], route_class=LateRoute)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
    dependencies=[requires_unless_open(Permission.METRICS_READ)],
)
async def metrics(request: Request) -> Response:
    """Every metric of the reference in Prometheus' text format, or in OpenMetrics where the Accept header asks for it.
    404 when `metrics.enabled` is false; asks for a key when `metrics.require_auth` is true."""
    service: HttpService = request.app.state.service
    if not service.settings.metrics.enabled:
        raise NotFound("Metrics are switched off (metrics.enabled).")
    content_type, body = await service.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
