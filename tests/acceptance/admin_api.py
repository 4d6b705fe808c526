"""A service and a client of its administration surface, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from service import RunningService, running_service

ADMIN = "/api/orchestrator"
UNLIMITED = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


@asynccontextmanager
async def admin(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service({**UNLIMITED, **config}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + ADMIN, timeout=20) as client,
    ):
        yield running, client


def prompt(model: str = "llama3") -> dict[str, Any]:
    """A body for /api/generate."""
    return {"model": model, "prompt": "hi", "stream": False}
