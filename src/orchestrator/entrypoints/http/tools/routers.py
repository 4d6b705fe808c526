"""The routers of tools, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.entrypoints.http.tools import approvals, calls, hosts, search, tools

ROUTERS: tuple[APIRouter, ...] = (calls.router, approvals.router, hosts.router, search.router, tools.router)
