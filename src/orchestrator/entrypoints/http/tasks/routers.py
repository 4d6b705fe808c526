"""The routers of /api/v1, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.tasks import (
    agents,
    bulk,
    config,
    dashboard,
    events,
    node_tasks,
    nodes,
    overview,
    schedules,
    task_logs,
    tasks,
    webhooks,
)

ROUTERS: tuple[APIRouter, ...] = (
    overview.router,
    config.router,
    dashboard.router,
    events.router,
    nodes.router,
    agents.router,
    node_tasks.router,
    schedules.router,
    webhooks.router,
    bulk.router,
    task_logs.router,
    tasks.router,
)
