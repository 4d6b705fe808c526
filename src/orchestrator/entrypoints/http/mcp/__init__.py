"""MCP by HTTP: the servers that are used here, and this service as one."""

from orchestrator.entrypoints.http.mcp.routers import ROUTERS

__all__ = ["ROUTERS"]
