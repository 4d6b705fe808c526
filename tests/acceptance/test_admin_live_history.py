"""Settings of the history that are changed while it runs are in force for the next request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from admin_api import admin, prompt

from orchestrator.ports.history import HistoryBatch, RequestFilter
from orchestrator.testing.model_server import ModelServer
from service import RunningService


async def ask(running: RunningService, count: int) -> None:
    async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
        for _ in range(count):
            assert (await client.post("/api/generate", json=prompt())).status_code == 200


async def change(api: httpx2.AsyncClient, **values: Any) -> None:
    answer = await api.patch("/config/history", json=values)
    assert answer.status_code == 200, answer.text


async def kept(api: httpx2.AsyncClient) -> tuple[int, int, int]:
    """Requests that were written down one by one, decisions, and requests in the sums."""
    rows = (await api.get("/analytics/requests/search", params={"limit": 500})).json()
    decisions = (await api.get("/analytics/decisions", params={"limit": 500})).json()
    summary = (await api.get("/analytics/summary")).json()["summary"]
    return len(rows["requests"]), decisions["count"], summary["totalRequests"]


async def decided(running: RunningService, api: httpx2.AsyncClient, before: int) -> tuple[int, int, int]:
    """Asks until another decision is written down: one that took long to explain is followed by a pause."""
    async with asyncio.timeout(20):
        while True:
            await ask(running, 1)
            found = await kept(api)
            if found[1] > before:
                return found


async def test_rates_are_in_force_for_the_next_request(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}], database={"url": "memory://"}) as (running, api),
    ):
        await running.healthy(1)
        rows, decisions, summed = await decided(running, api, 0)
        assert rows == summed
        await change(api, rows_per_second=0)
        fewer, more, all_of_them = await decided(running, api, decisions)
        assert fewer == rows
        assert all_of_them > summed
        await change(api, rows_per_second=10_000, decisions_per_second=0)
        await ask(running, 2)
        rows, decisions, summed = await kept(api)
        assert (decisions, summed) == (more, all_of_them + 2)
        assert rows > fewer
        await change(api, decisions_per_second=20)
        refused = await api.patch("/config/history", json={"rows_per_second": -1, "decisions_per_second": 0})
        assert refused.status_code == 400
        await decided(running, api, decisions)


async def test_retention_is_in_force_for_the_next_clean_up(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}], database={"url": "memory://"}) as (running, api),
    ):
        await running.healthy(1)
        rows, decisions, summed = await kept(api)
        while decisions < 3:
            rows, decisions, summed = await decided(running, api, decisions)
        assert rows == summed

        async def at_once(seconds: float) -> None:
            assert seconds > 0

        assert await running.service.cleanup.sweep(at_once) == 0
        await change(api, most_requests=1, most_decisions=2)
        assert await running.service.cleanup.sweep(at_once) == (rows - 1) + (decisions - 2)
        assert await kept(api) == (1, 2, summed)
        await change(api, keep_requests=60, most_requests=100)
        (newest,) = await running.service.storage.history.requests(RequestFilter(), 10)
        old = msgspec.structs.replace(newest, at=newest.at - 90)
        await running.service.storage.history.append(HistoryBatch([old]))
        assert await running.service.cleanup.sweep(at_once) == 1
