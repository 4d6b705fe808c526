"""Lists of tasks: what they are asked with, and their pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from service import running_service

FREE = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


@asynccontextmanager
async def api(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        running_service(FREE, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("field", ["before", "offset", "limit"])
@pytest.mark.parametrize("value", [str(2**63), "9" * 24, "-1", "x"])
async def test_a_number_that_no_database_holds_is_a_wrong_request(tmp_path: Path, field: str, value: str) -> None:
    async with api(tmp_path) as client:
        answer = await client.get("/tasks", params={field: value})
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"]["field"] == field
        assert field in answer.json()["error"]


async def test_the_last_number_there_can_be_is_none_too_many(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        await client.post("/tasks", json={"task_type": "t", "task_id": "a"})
        answer = await client.get("/tasks", params={"before": 2**63 - 1})
        assert [task["task_id"] for task in answer.json()["tasks"]["pending"]] == ["a"]
