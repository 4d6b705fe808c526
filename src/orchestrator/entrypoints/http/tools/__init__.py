"""Tools below /api/v1: which there are, calling them, and what people decide about calls."""

from __future__ import annotations

from orchestrator.entrypoints.http.tools.routers import ROUTERS

__all__ = ["ROUTERS"]
