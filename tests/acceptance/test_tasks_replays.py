"""Tasks that begin anew: what they wait for counts as when they were new, and only those begin that were meant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import tasks_service


class Served:
    """A service with one node that pulls."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def call(self, path: str, body: Any = None, expect: int = 200) -> dict[str, Any]:
        answer = await self.http.post(path, json={} if body is None else body)
        assert answer.status_code == expect, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def submit(self, task_id: str, **body: Any) -> None:
        await self.call("/tasks", {"task_type": "t", "task_id": task_id, **body})

    async def state(self, task_id: str) -> str:
        return str((await self.http.get(f"/tasks/{task_id}")).json()["task"]["state"])

    async def until(self, task_id: str, state: str) -> None:
        async with asyncio.timeout(5):
            while await self.state(task_id) != state:  # noqa: ASYNC110 - soon
                await asyncio.sleep(0.02)

    async def pull(self, wait: float = 5) -> list[str]:
        tasks = (await self.call("/nodes/n/tasks/pull", {"wait": wait, "limit": 10}))["tasks"]
        return [task["task_id"] for task in tasks]

    async def report(self, task_id: str, status: str) -> None:
        await self.call(f"/tasks/{task_id}/result", {"status": status, "retryable": False})

    async def family(self) -> None:
        """A parent that has failed, its child, and the child's child."""
        await self.submit("parent")
        await self.submit("child", dependencies=["parent"])
        await self.submit("grandchild", dependencies=["child", "parent"])
        assert await self.pull() == ["parent"]
        await self.report("parent", "failed")
        for name in ("child", "grandchild"):
            await self.until(name, "failed")


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with tasks_service(tmp_path, "n") as http:
        yield Served(http)


async def test_what_depends_on_a_failed_task_does_not_begin_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        await on.family()
        refused = await on.call("/tasks/child/retry", expect=409)
        assert refused["error"] == "dependencies: task 'parent' is failed"
        assert await on.state("child") == "failed"

        await on.call("/tasks/parent/retry")
        await on.call("/tasks/child/retry")
        assert await on.state("child") == "waiting"
        assert await on.pull() == ["parent"]
        await on.report("parent", "completed")
        assert await on.pull() == ["child"]
        await on.report("child", "completed")
        await on.call("/tasks/grandchild/retry")
        assert await on.pull() == ["grandchild"], "all it depends on has completed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks/failed/replay", {}),
        ("/tasks/failed/replay", {"task_ids": ["grandchild", "child", "parent"]}),
        ("/tasks/bulk", {"action": "retry", "filter": {"status": "failed"}}),
    ],
)
async def test_together_they_begin_in_their_order(tmp_path: Path, path: str, body: Any) -> None:
    async with served(tmp_path) as on:
        await on.family()
        await on.call(path, body)
        await on.until("grandchild", "waiting")
        for name in ("parent", "child", "grandchild"):
            assert await on.pull() == [name]
            await on.report(name, "completed")


async def test_a_dependency_that_may_fail_is_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        await on.submit("parent")
        await on.submit("child", dependencies=["parent"], on_dependency_failure="run")
        for name in ("child", "parent"):
            await on.call(f"/tasks/{name}/cancel")
        await on.call("/tasks/parent/retry")
        await on.call("/tasks/child/retry")
        assert await on.pull() == ["parent"]
        assert await on.state("child") == "waiting"
        await on.report("parent", "failed")
        assert await on.pull() == ["child"]


async def test_its_time_is_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        await on.submit("later", not_before=time.time() + 3_600)
        await on.submit("soon", not_before=time.time() + 1.5)
        for name in ("later", "soon"):
            await on.call(f"/tasks/{name}/cancel")
            await on.call(f"/tasks/{name}/retry")
        assert await on.state("later") == "waiting"
        assert await on.pull() == ["soon"]
        assert await on.pull(0.1) == []


async def test_only_the_dead_letters_that_were_meant_are_replayed(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        for name, kind in (("a", "t"), ("b", "u")):
            await on.submit(name, task_type=kind)
            assert await on.pull() == [name]
            await on.report(name, "failed")
        path = "/tasks/failed/replay"
        assert (await on.call(path, {"task_ids": []}))["count"] == 0
        assert (await on.call(path, {"task_ids": ["nothing"]}))["task_ids"] == []
        assert (await on.call(path, {"task_ids": ["a"], "task_type": "u"}))["count"] == 0
        for wrong, field in (
            ({"task_ids": None}, "task_ids"),
            ({"task_ids": "a"}, "task_ids"),
            ({"task_ids": [1]}, "task_ids"),
            ({"task_type": 5}, "task_type"),
            ({"task_type": ""}, "task_type"),
            ({"taskids": ["a"]}, "taskids"),
        ):
            assert (await on.call(path, wrong, expect=400))["details"]["field"] == field
        assert [await on.state(name) for name in ("a", "b")] == ["failed", "failed"]
        assert (await on.call(path, {"task_type": "u"}))["task_ids"] == ["b"]
        assert (await on.call(path))["task_ids"] == ["a"]
