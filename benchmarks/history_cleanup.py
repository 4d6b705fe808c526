"""The service cleans up its history while requests go through it and analytics is asked."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.analytics import READY, p95, serving
from benchmarks.environment import UnavailableError
from orchestrator.entrypoints.http.admin.route import PREFIX
from orchestrator.storage import open_storage
from orchestrator.testing.model_server import ModelServer

LONGEST = 150.0  # seconds; the first clean-up begins a minute after the start
PACE = 0.02  # seconds between two chats
ADDED_GOAL = 50.0  # ms that the clean-up may add to a chat at p95
CHAT = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}


def measure(database: str, most: int) -> dict[str, Any]:
    """With `most` requests to be kept: milliseconds at p95 before and while rows go, and how many went."""
    return asyncio.run(_measure(database, most))


def missed(found: dict[str, Any], ms_goal: float) -> list[str]:
    added = found["chat_cleaning_p95"] - found["chat_before_p95"]
    told = [f"cleaning adds {added:.0f} ms to a chat"] if added >= ADDED_GOAL else []
    if found["summary_cleaning_p95"] >= ms_goal:
        told.append(f"a summary took {found['summary_cleaning_p95']:.0f} ms while cleaning")
    return told


class _Load:
    """Chats and summaries, one after the other, as (when, milliseconds)."""

    def __init__(self, url: str) -> None:
        self.chats: list[tuple[float, float]] = []
        self.summaries: list[tuple[float, float]] = []
        self._url = url

    async def chat(self, client: httpx2.AsyncClient) -> None:
        while True:
            await self._timed(self.chats, client.post(f"{self._url}/v1/chat/completions", json=CHAT))
            await asyncio.sleep(PACE)

    async def summarise(self, client: httpx2.AsyncClient) -> None:
        while True:
            await self._timed(self.summaries, client.get(f"{self._url}{PREFIX}/analytics/summary"))
            await asyncio.sleep(PACE * 10)

    async def _timed(self, into: list[tuple[float, float]], call: Any) -> None:
        began = time.perf_counter()
        response = await call
        if response.status_code != 200:
            raise UnavailableError(f"the service answered {response.status_code} under traffic")
        into.append((began, (time.perf_counter() - began) * 1000))


async def _measure(database: str, most: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        async with ModelServer(["llama3"]) as node:
            config = {"nodes": [{"id": "a", "url": node.url}], "history": {"most_requests": most}}
            with serving(database, Path(name), config) as url:
                return await _watch(database, url, most)


async def _watch(database: str, url: str, most: int) -> dict[str, Any]:
    load = _Load(url)
    async with httpx2.AsyncClient(timeout=30.0) as client, open_storage(database) as storage:
        async with asyncio.timeout(READY):
            while not (await client.get(f"{url}/v1/models")).json().get("data"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(load.chat(client)), tasks.create_task(load.summarise(client))]
            size = (await storage.history.size()).requests
            first, began, ended = size, 0.0, 0.0
            end = time.perf_counter() + LONGEST
            while not ended and time.perf_counter() < end:
                await asyncio.sleep(0.25)
                size = (await storage.history.size()).requests
                if not began and size < first:
                    began = time.perf_counter()
                # Chats go on being written while the surplus goes.
                if began and size <= most + 500:
                    ended = time.perf_counter()
            for task in running:
                task.cancel()
    if not ended:
        raise UnavailableError("the clean-up did not come to its end in time")
    return _told(load, began, ended) | {"rows": first - size, "seconds": round(ended - began, 1)}


def _told(load: _Load, began: float, ended: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, times in (("chat", load.chats), ("summary", load.summaries)):
        before = [took for at, took in times if at < began - 1]
        during = [took for at, took in times if began - 1 <= at <= ended]
        for when, values in (("before", before), ("cleaning", during)):
            found |= {f"{name}_{when}_p95": round(p95(values), 1), f"{name}_{when}_max": round(max(values), 1)}
    return found
