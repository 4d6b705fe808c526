"""The sampled decisions of the placement, and what they say of it. Scores are the fleet contract's, 0 to 100.

An answer from many decisions says how many it `considered`, and `truncated` when the window had more.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.admin.analytics_query import Hours, Minutes, ServerId, encoded, last_hours
from orchestrator.entrypoints.http.admin.route import admin_router, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.services.history import choices

router = admin_router("analytics")
READ = requires(Permission.FLEET_READ)
MOST_SHOWN = 500  # decisions; one is 3 KB of JSON


@router.get("/analytics/decisions")
async def decisions(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = 100,
    model: str | None = None,
    server_id: ServerId = None,
    principal: Principal = READ,
) -> Response:
    """Decisions, newest first: at most ten candidates each, best first in the eyes of the policy. `serverId` is the
    selected one."""
    analytics = service_of(request).analytics
    store = await analytics.caught_up()
    until = analytics.now() + 1
    found = await store.decisions(since=0.0, until=until, limit=limit, node=server_id, model=model)
    events = await asyncio.to_thread(lambda: [choices.shown(one) for one in found])
    return encoded({"success": True, "count": len(found), "events": events})


@router.get("/analytics/decisions/trends/{server_id}/{model:path}")
async def decision_trends(
    request: Request, server_id: str, model: str, hours: Hours = 24, principal: Principal = READ
) -> dict[str, Any]:
    """A server's scores for a model whenever it was a candidate, oldest first."""
    of = await choices.sample(service_of(request).analytics, last_hours(request, hours), model=model)
    trend = await choices.computed(partial(choices.trend, node=server_id), of)
    return {"success": True, "serverId": server_id, "model": model, "hours": hours, **of.told(), "trend": trend}


@router.get("/analytics/selection-stats")
async def selection_stats(request: Request, hours: Hours = 24, principal: Principal = READ) -> dict[str, Any]:
    """How often each server was selected, and its mean score when it was."""
    of = await choices.sample(service_of(request).analytics, last_hours(request, hours))
    return {"success": True, "hours": hours, **of.told(), "stats": await choices.computed(choices.selections, of)}


@router.get("/analytics/algorithms")
async def algorithms(request: Request, hours: Hours = 24, principal: Principal = READ) -> dict[str, Any]:
    """Which policies decided."""
    of = await choices.sample(service_of(request).analytics, last_hours(request, hours))
    return {"success": True, "hours": hours, **of.told(), "algorithms": await choices.computed(choices.algorithms, of)}


@router.get("/analytics/score-timeline")
async def score_timeline(
    request: Request, hours: Hours = 24, interval: Minutes = 15, principal: Principal = READ
) -> dict[str, Any]:
    """The candidates' scores by interval (minutes), oldest first."""
    of = await choices.sample(service_of(request).analytics, last_hours(request, hours))
    points = await choices.computed(partial(choices.score_timeline, minutes=interval), of)
    return {"success": True, "hours": hours, "intervalMinutes": interval, **of.told(), "dataPoints": points}


@router.get("/analytics/metrics-impact")
async def metrics_impact(request: Request, hours: Hours = 24, principal: Principal = READ) -> dict[str, Any]:
    """How each part of the score goes with being selected (-1 to 1, null without variation), and the weights in force,
    which decide under the policy `weighted` only (`weightsDecide`)."""
    analytics = service_of(request).analytics
    of = await choices.sample(analytics, last_hours(request, hours))
    placement = analytics.gateway.placement
    impact = partial(choices.impact, options=placement.options, policy=placement.policy)
    return {"success": True, "hours": hours, **of.told(), **await choices.computed(impact, of)}
