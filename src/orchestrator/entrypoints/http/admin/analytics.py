"""Analytics from the durable history. Times are ms since the epoch, durations ms, rates 0 to 1.

Every answer says `from` and `to`: the window slides, and begins at a whole minute (beyond a day: at a whole hour).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.admin.analytics_query import (
    Limit,
    Offset,
    ServerId,
    encoded,
    head,
    last_hours,
    window,
)
from orchestrator.entrypoints.http.admin.route import admin_router, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.ports.history import DAY, HOUR, RequestFilter
from orchestrator.services.history import export, requests
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.capacity import capacity
from orchestrator.services.history.pages import sums_page
from orchestrator.services.history.snapshots import MOST_HOURS
from orchestrator.services.history.window import Window

router = admin_router("analytics")
READ = requires(Permission.FLEET_READ)
LastHour, LastDay = Depends(window("1h")), Depends(window("24h"))
LastWeek, LastMonth = Depends(window("7d")), Depends(window("30d"))


@router.get("/analytics/summary")
async def summary(request: Request, span: Window = LastDay, principal: Principal = READ) -> dict[str, Any]:
    """How many requests, how many failed, how fast. Requests per second over the whole window."""
    return {**head(span), "summary": await service_of(request).analytics.summary(span)}


@router.get("/analytics/top-models")
async def top_models(
    request: Request, limit: Limit = 10, span: Window = LastDay, principal: Principal = READ
) -> dict[str, Any]:
    """The models that were asked for most. `percentage` is of all requests."""
    models = await service_of(request).analytics.top_models(span, limit)
    return {**head(span), "models": models, "count": len(models)}


@router.get("/analytics/server-performance")
async def server_performance(request: Request, span: Window = LastHour, principal: Principal = READ) -> dict[str, Any]:
    """Every server, also those without requests. Throughput in requests per minute; `utilization` is of this moment;
    `score` is 100 x (1 - errorRate) x (1 + fastest avgLatency / avgLatency) / 2, null without requests."""
    servers = await service_of(request).analytics.server_performance(span)
    return {**head(span), "servers": servers, "count": len(servers)}


@router.get("/analytics/errors")
async def errors(
    request: Request,
    recent: Annotated[bool, Query(alias="includeRecent")] = True,
    span: Window = LastDay,
    principal: Principal = READ,
) -> dict[str, Any]:
    """Failed requests by the error's code, by server and by model, whether their share grows, and the last 20."""
    return {**head(span), **await service_of(request).analytics.errors(span, recent)}


@router.get("/analytics/capacity")
async def current_capacity(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """Places, what is under way and waits, the last 24 hours, and what they let expect. A forecast without a trend in
    whole measured hours has the confidence 0 and says "stable"."""
    return {"success": True, **await capacity(service_of(request).analytics)}


@router.get("/analytics/trends/{metric}")
async def trends(
    request: Request,
    metric: str,
    server_id: ServerId = None,
    model: str | None = None,
    span: Window = LastDay,
    principal: Principal = READ,
) -> dict[str, Any]:
    """A line through latency, errors or throughput over time; its slope is per hour. `confidence` is R², less where
    there are fewer than ten points. 400 for another metric."""
    told = await service_of(request).analytics.trend(metric, span, server_id, model)
    return {**head(span), "metric": metric, "serverId": server_id, "model": model, **told}


@router.get("/analytics/summary-snapshots")
async def snapshots(
    request: Request,
    hours: Annotated[float, Query(gt=0, le=MOST_HOURS)] = 720,
    principal: Principal = READ,
) -> Response:
    """Each model on each server, hour by hour, oldest first. `avgTokenThroughput` is tokens per second."""
    span = last_hours(request, hours)
    found = await service_of(request).analytics.snapshots(span)
    return encoded({**head(span), "count": len(found), "snapshots": found})


@router.get("/analytics/servers-with-history")
async def servers_with_history(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """The servers that the history knows of, also those that are gone."""
    analytics = service_of(request).analytics
    rollups = await analytics.rollups(Window(0, analytics.now()), by=("node",), brief=True)
    found = sorted({one.node for one in rollups if one.node})
    return {"success": True, "count": len(found), "serverIds": found}


@router.get("/analytics/rollups/hourly")
async def hourly(
    request: Request,
    server_id: ServerId = None,
    model: str | None = None,
    limit: Limit = 1000,
    offset: Offset = 0,
    span: Window = LastWeek,
    principal: Principal = READ,
) -> Response:
    """Sums per hour, server, model and endpoint, oldest first."""
    return await _rollups(request, span, HOUR, server_id, model, limit, offset)


@router.get("/analytics/rollups/daily")
async def daily(
    request: Request,
    server_id: ServerId = None,
    model: str | None = None,
    limit: Limit = 1000,
    offset: Offset = 0,
    span: Window = LastMonth,
    principal: Principal = READ,
) -> Response:
    """Sums per day (UTC), server, model and endpoint, oldest first."""
    return await _rollups(request, span, DAY, server_id, model, limit, offset)


async def _rollups(
    request: Request, span: Window, step: int, server_id: str | None, model: str | None, limit: int, offset: int
) -> Response:
    total, found = await sums_page(service_of(request).analytics, span, step, server_id, model, limit, offset)
    shown = [export.rollup(one) for one in found]
    return encoded({**head(span), "bounds": export.BOUNDS_MS, "total": total, "count": len(shown), "rollups": shown})


@router.get("/analytics/export")
async def export_history(
    request: Request,
    kind: Literal["requests", "rollups"] = "requests",
    format: Literal["csv", "json"] = "csv",
    server_id: ServerId = None,
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    span: Window = LastDay,
    principal: Principal = READ,
) -> Response:
    """Requests, newest first, or sums per hour, oldest first, as a file. In CSV a text that a spreadsheet would take
    for a formula begins with an apostrophe."""
    analytics = service_of(request).analytics
    if kind == "requests":
        found = _requests(analytics, RequestFilter(span.since, span.until, server_id, model), limit)
    else:
        found = _hours(analytics, span, server_id, model, limit)
    # A database that is away is told with a status, and not by a file that breaks off.
    first = await anext(found, None)
    pages = _after(first or [], found)
    body = export.as_csv(pages) if format == "csv" else export.as_json(kind, head(span), pages)
    return StreamingResponse(
        body,
        media_type="text/csv; charset=utf-8" if format == "csv" else "application/json",
        headers={"content-disposition": f'attachment; filename="{kind}.{format}"'},
    )


Pages = AsyncIterator[Sequence[Mapping[str, Any]]]


async def _requests(analytics: Analytics, wanted: RequestFilter, limit: int) -> Pages:
    async for page in requests.pages(await analytics.caught_up(), wanted, limit):
        yield [requests.shown(row) for row in page]


async def _hours(analytics: Analytics, span: Window, node: str | None, model: str | None, limit: int) -> Pages:
    offset = 0
    while offset < limit:
        _, found = await sums_page(analytics, span, HOUR, node, model, min(requests.PAGE, limit - offset), offset)
        if not found:
            return
        offset += len(found)
        yield [export.rollup(one) for one in found]


async def _after(first: Sequence[Mapping[str, Any]], rest: Pages) -> Pages:
    yield first
    async for page in rest:
        yield page
