"""Finished requests from the durable history. Times are ms since the epoch, durations ms."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.admin.analytics_query import (
    Hours,
    Limit,
    Minutes,
    Offset,
    ServerId,
    encoded,
    head,
    last_hours,
    wanted,
)
from orchestrator.entrypoints.http.admin.route import admin_router, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.ports.history import RequestFilter
from orchestrator.services.history import requests

router = admin_router("analytics")
READ = requires(Permission.FLEET_READ)
WANTED = Depends(wanted)


# Named before `/analytics/requests/{server_id}`, which would take them for servers.
@router.get("/analytics/requests/search")
async def search(
    request: Request, limit: Limit = 100, offset: Offset = 0, which: RequestFilter = WANTED, principal: Principal = READ
) -> Response:
    """Requests that match all that is given, newest first. `id` is the one of the X-Request-Id header; `success` false:
    those that ended with an error; `isRetry`: those with more than one attempt."""
    return await _page(request, which, limit, offset)


@router.get("/analytics/requests/browse")
async def browse(
    request: Request, limit: Limit = 100, offset: Offset = 0, which: RequestFilter = WANTED, principal: Principal = READ
) -> Response:
    """The same, page by page: `hasMore` tells whether another `offset` finds more."""
    return await _page(request, which, limit, offset)


@router.get("/analytics/requests/{server_id}")
async def of_server(
    request: Request,
    server_id: str,
    limit: Limit = 100,
    offset: Offset = 0,
    model: str | None = None,
    principal: Principal = READ,
) -> Response:
    """The requests that a server had last, newest first."""
    which = RequestFilter(node=server_id, model=model)
    return await _page(request, which, limit, offset, serverId=server_id, model=model)


@router.get("/analytics/request-stats/{server_id}")
async def stats(request: Request, server_id: str, hours: Hours = 24, principal: Principal = READ) -> dict[str, Any]:
    """A server's requests in sums. Latencies and tokens are those of answered requests."""
    span = last_hours(request, hours)
    found = await requests.stats(service_of(request).analytics, server_id, span)
    return {**head(span), "serverId": server_id, "hours": hours, "stats": found}


@router.get("/analytics/request-timeline")
async def timeline(
    request: Request,
    server_id: ServerId = None,
    hours: Hours = 24,
    interval: Minutes = 60,
    principal: Principal = READ,
) -> dict[str, Any]:
    """Requests by interval (minutes), oldest first. 400 for more than 10,000 of them."""
    span = last_hours(request, hours)
    points = await requests.timeline(service_of(request).analytics, server_id, span, interval)
    return {
        **head(span),
        "serverId": server_id or "all",
        "hours": hours,
        "intervalMinutes": interval,
        "dataPoints": points,
    }


async def _page(request: Request, which: RequestFilter, limit: int, offset: int, **more: Any) -> Response:
    analytics = service_of(request).analytics
    store = await analytics.caught_up()
    rows = await store.requests(which, limit + 1, offset)
    shown = [requests.shown(row) for row in rows[:limit]]
    page = {"count": len(shown), "limit": limit, "offset": offset, "hasMore": len(rows) > limit, "requests": shown}
    return encoded({"success": True, **page, **more})
