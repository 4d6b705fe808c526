"""The same done to many tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service

CONFIG = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("action", {"filter": {"type": "a"}}),
    ("action", {"action": "delete", "filter": {"type": "a"}}),
    ("filter", {"action": "cancel"}),
    ("filter", {"action": "cancel", "filter": {"type": "a"}, "all": True}),
    ("filter.status", {"action": "retry", "filter": {"status": "completed"}}),
    ("status", {"action": "retry", "filter": {"status": "odd"}}),
    ("filter.type", {"action": "cancel", "filter": {"type": 5}}),
    ("filter.type", {"action": "cancel", "filter": {"type": "a" * 600}}),
    ("filter.before", {"action": "cancel", "filter": {"before": -1}}),
    ("wait", {"action": "cancel", "all": True, "wait": 31}),
]


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(CONFIG, tmp_path) as run,
        httpx2.AsyncClient(base_url=f"{run.url}/api/v1", timeout=30, trust_env=False) as http,
    ):
        yield run, http


async def submitted(http: httpx2.AsyncClient, count: int, **body: Any) -> None:
    answer = await http.post("/tasks/batch", json={"tasks": [{"task_type": "a", **body}] * count})
    assert len(answer.json()["task_ids"]) == count


async def bulk(http: httpx2.AsyncClient, action: str, **body: Any) -> dict[str, Any]:
    answer = await http.post("/tasks/bulk", json={"action": action, **body})
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_counted_cancelled_and_begun_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        await submitted(http, 1_200)
        await submitted(http, 3, task_type="b")
        counted = await bulk(http, "cancel", filter={"type": "a"}, dry_run=True)
        nobody = await bulk(http, "cancel", filter={"type": "a", "before": time.time() - 60}, dry_run=True)
        none = await bulk(http, "cancel", filter={"principal": "somebody"}, dry_run=True)
        run = (await bulk(http, "cancel", filter={"type": "a"}, reason="not today", wait=20))["bulk"]
        [one] = (await http.get("/tasks", params={"status": "cancelled", "limit": 1})).json()["tasks"]["failed"]
        retried = (await bulk(http, "retry", filter={"status": "cancelled"}, wait=20))["bulk"]
        all_of_them = await bulk(http, "cancel", all=True, dry_run=True)
        listed = (await http.get("/tasks/bulk")).json()["bulk"]
    assert (counted["count"], counted["exact"], nobody["count"], none["count"]) == (1_200, True, 0, 0)
    assert {name: run[name] for name in ("state", "total", "done", "skipped")} == {
        "state": "done",
        "total": 1_200,
        "done": 1_200,
        "skipped": 0,
    }
    assert one["error_message"] == "not today"
    assert (retried["done"], all_of_them["count"]) == (1_200, 1_203)
    assert [found["bulk_id"] for found in listed] == [retried["bulk_id"], run["bulk_id"]]


async def test_one_can_be_followed_and_stopped(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        await submitted(http, 3_000)
        begun = (await bulk(http, "cancel", all=True, wait=0))["bulk"]
        path = f"/tasks/bulk/{begun['bulk_id']}"
        stopped = (await http.post(f"{path}/stop")).json()["bulk"]
        left = (await bulk(http, "cancel", all=True, dry_run=True))["count"]
        again = (await http.get(path, params={"wait": 1})).json()["bulk"]
        rest = (await bulk(http, "cancel", all=True, wait=20))["bulk"]
        uncancelled = (await bulk(http, "cancel", all=True, dry_run=True))["count"]
        unknown = await http.get("/tasks/bulk/unknown")
    assert (begun["state"], stopped["state"], again) == ("running", "stopped", stopped)
    # What was under way when it was stopped may have been written before or after the count.
    assert 0 < rest["done"] <= left <= 3_000 - stopped["done"]
    assert (rest["state"], uncancelled) == ("done", 0)
    assert (unknown.status_code, unknown.json()["details"]["code"]) == (404, "BULK_NOT_FOUND")


async def test_tasks_that_change_meanwhile_are_skipped(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        await http.post("/tasks", json={"task_type": "parent", "task_id": "p"})
        await submitted(http, 5, task_type="child", dependencies=["p"])
        await submitted(http, 600)
        runs = await asyncio.gather(*(bulk(http, "cancel", all=True, wait=20) for _ in range(3)))
        counts = (await http.get("/tasks", params={"status": "failed"})).json()["summary"]
    done = sum(run["bulk"]["done"] for run in runs)
    assert done <= 606
    assert counts["failed_count"] == 606


@pytest.mark.parametrize(("field", "body"), WRONG)
async def test_what_is_wrong_is_named(field: str, body: dict[str, Any], tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        answer = await http.post("/tasks/bulk", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["field"] == field
