"""Artifacts: the registry contract's routes at the root, and bytes below /api/v1."""

from __future__ import annotations

from orchestrator.entrypoints.http.artifacts.routers import ROUTERS, body_limit

__all__ = ["ROUTERS", "body_limit"]
