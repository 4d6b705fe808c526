"""The administration surface under /api/orchestrator (docs/reference/api.md)."""

from orchestrator.entrypoints.http.admin.routers import ROUTERS

__all__ = ["ROUTERS"]
