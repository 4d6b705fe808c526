"""The routers of /api/v1, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.tasks import agents, node_tasks, nodes, tasks

ROUTERS: tuple[APIRouter, ...] = (nodes.router, agents.router, node_tasks.router, tasks.router)
