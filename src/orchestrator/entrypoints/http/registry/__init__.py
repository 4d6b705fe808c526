"""The registry of tools: nodes, tools, tags, queries, maintenance, monitoring."""

from __future__ import annotations

from orchestrator.entrypoints.http.registry.routers import ROUTERS

__all__ = ["ROUTERS"]
