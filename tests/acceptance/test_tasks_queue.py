"""A long queue: what stands at its head delays nobody, and a low priority is served all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import running_service
from worker_stubs import PushWorker, push_worker

CONFIG = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
QUEUED = 10_000
AT_ONCE = 1_000
WITHIN = 1.0  # seconds
WORK = 0.02  # seconds that a node needs for a task


class Queue:
    def __init__(self, http: httpx2.AsyncClient, node: PushWorker) -> None:
        self._http = http
        self._node = node

    async def submit(self, count: int, **body: Any) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            tasks = [{"task_type": "noop", **body}] * min(AT_ONCE, count - len(found))
            answer = await self._http.post("/tasks/batch", json={"tasks": tasks})
            assert answer.status_code == 200, answer.text
            found += answer.json()["task_ids"]
        return found

    async def begun(self, task_id: str) -> float:
        """Seconds from now until the node is given the task."""
        begun = time.monotonic()
        async with asyncio.timeout(20):
            while not any(task_id == given for given, _ in self._node.given):
                self._node.came.clear()
                await self._node.came.wait()
        return time.monotonic() - begun

    async def waiting(self) -> int:
        found = (await self._http.get("/tasks?limit=1")).json()["summary"]
        return int(found["pending_count"])


@asynccontextmanager
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with (
        running_service(CONFIG, tmp_path) as run,
        httpx2.AsyncClient(base_url=f"{run.url}/api/v1", timeout=60, trust_env=False) as http,
        push_worker("node", lambda: run.url, seconds=WORK) as node,
    ):
        yield Queue(http, node)


@pytest.mark.parametrize(("many", "one"), [(1, 5), (5, 1)])
async def test_another_priority_behind_ten_thousand_starts_within_a_second(many: int, one: int, tmp_path: Path) -> None:
    async with queue(tmp_path) as line:
        await line.submit(QUEUED, priority=many)
        [late] = await line.submit(1, priority=one)
        assert await line.begun(late) < WITHIN
        assert await line.waiting() > QUEUED / 2, "there was no queue"


async def test_a_head_that_nobody_can_do_delays_nothing_behind_it(tmp_path: Path) -> None:
    async with queue(tmp_path) as line:
        blocked = await line.submit(QUEUED, priority=1, requirements={"capabilities": ["nobody-has-this"]})
        [late] = await line.submit(1, priority=5)
        assert await line.begun(late) < WITHIN
        assert await line.waiting() == len(blocked)
