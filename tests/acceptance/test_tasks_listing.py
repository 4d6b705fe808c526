"""Lists of tasks: what they are asked with, and their pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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


async def lists_of_different_length(client: httpx2.AsyncClient) -> list[str]:
    """Ids of 12 tasks, the newest first: cancelled and pending ones by turns, then cancelled, then pending ones."""
    ids = [f"t{number:02}" for number in range(12)]
    await client.post("/tasks/batch", json={"tasks": [{"task_type": "t", "task_id": one} for one in ids]})
    for one in (ids[0], ids[2], *ids[4:8]):
        assert (await client.post(f"/tasks/{one}/cancel")).status_code == 200
    return ids[::-1]


def listed(page: dict[str, Any]) -> list[str]:
    return [task["task_id"] for group in page["tasks"].values() for task in group]


async def pages(client: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """All that `next` leads to."""
    found = [(await client.get("/tasks", params=query)).json()]
    while (following := found[-1]["next"]) is not None:
        found.append((await client.get("/tasks", params={**query, "before": following})).json())
        assert len(found) < 50
    return found


async def test_a_first_page_has_the_newest_of_each_list_and_next_leads_to_every_task(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        ids = await lists_of_different_length(client)
        whole = await pages(client, limit=12)
        first, *rest = await pages(client, limit=3)
    assert set(listed(whole[0])) == set(ids)
    assert whole[0]["next"] is None
    assert [task["task_id"] for task in first["tasks"]["pending"]] == ["t11", "t10", "t09"]
    assert [task["task_id"] for task in first["tasks"]["failed"]] == ["t07", "t06", "t05"]
    behind = [one for page in rest for one in listed(page)]
    assert len(behind) == len(set(behind))
    assert {*listed(first), *behind} == set(ids)
    assert all(len(listed(page)) <= 3 for page in rest)


@pytest.mark.parametrize("begin", [{"status": "pending,active,completed,failed"}, {"before": 2**63 - 1}])
@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_who_begins_with_all_lists_together_gets_every_task_once(
    tmp_path: Path, begin: dict[str, Any], limit: int
) -> None:
    async with api(tmp_path) as client:
        ids = await lists_of_different_length(client)
        found = [sorted(listed(page), reverse=True) for page in await pages(client, limit=limit, **begin)]
    assert [one for page in found for one in page] == ids


async def test_a_task_that_moves_between_two_pages_is_neither_skipped_nor_told_twice(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        await lists_of_different_length(client)
        first = (await client.get("/tasks", params={"limit": 3, "before": 2**63 - 1})).json()
        assert listed(first) == ["t11", "t10", "t09"]
        for told_or_not in ("t11", "t08"):
            await client.post(f"/tasks/{told_or_not}/cancel")
        second = (await client.get("/tasks", params={"limit": 3, "before": first["next"]})).json()
    assert sorted(listed(second)) == ["t06", "t07", "t08"]
