"""The registry's routers, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.registry import nodes, pages, queries, tools, upkeep

ROUTERS: tuple[APIRouter, ...] = (nodes.router, tools.router, queries.router, upkeep.router, pages.router)
