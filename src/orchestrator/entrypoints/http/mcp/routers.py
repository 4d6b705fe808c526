"""The routers of MCP, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.mcp import protocol, servers

ROUTERS: tuple[APIRouter, ...] = (servers.router, protocol.router)
