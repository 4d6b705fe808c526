"""The administration routes, area by area."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.admin import aliases, bans, breakers, config, keys, overview, queue, servers

ROUTERS: tuple[APIRouter, ...] = (
    overview.router,
    servers.router,
    breakers.router,
    bans.router,
    queue.router,
    config.router,
    keys.router,
    aliases.router,
)
