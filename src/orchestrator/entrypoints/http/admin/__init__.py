"""The administration surface under /api/orchestrator (docs/reference/api.md)."""

from orchestrator.entrypoints.http.admin import aliases, bans, breakers, config, keys, overview, queue, servers

ROUTERS = (
    overview.router,
    servers.router,
    breakers.router,
    bans.router,
    queue.router,
    config.router,
    keys.router,
    aliases.router,
)

__all__ = ["ROUTERS"]
