"""The administration routes, area by area."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.admin import (
    aliases,
    analytics,
    analytics_decisions,
    analytics_requests,
    bans,
    breakers,
    config,
    fleet_models,
    keys,
    logs,
    metrics_json,
    model_jobs,
    overview,
    queue,
    recovery,
    server_models,
    servers,
)

ROUTERS: tuple[APIRouter, ...] = (
    overview.router,
    servers.router,
    recovery.router,  # before the metrics of a pair: /metrics/recovery-tests/{name} is none
    breakers.router,
    bans.router,
    queue.router,
    config.router,
    keys.router,
    logs.router,
    aliases.router,
    analytics.router,
    analytics_requests.router,
    analytics_decisions.router,
    metrics_json.router,
    server_models.router,
    model_jobs.router,
    fleet_models.router,  # behind other routes below /models: its paths hold models' names
)
