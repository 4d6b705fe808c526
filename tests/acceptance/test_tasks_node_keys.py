"""What nodes may say of each other's tasks: nothing, where each has its own key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import running_service

LARGE = "x" * (1 << 20)  # becomes an artifact
ROLES = {"admin": "admin", "mine": "node", "other": "node"}
SPOKEN = "The node 'mine' was registered with another key."


def head(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key-{name}-0123456789"}


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Two nodes with a key each; the first has a task."""
    keys = [{"name": name, "key": f"key-{name}-0123456789", "role": role} for name, role in ROLES.items()]
    config = {"auth": {"enabled": True, "keys": keys}}
    async with (
        running_service(config, tmp_path) as run,
        httpx2.AsyncClient(base_url=f"{run.url}/api/v1", timeout=20, trust_env=False) as http,
    ):
        for name in ("mine", "other"):
            answer = await http.post(f"/nodes/{name}/register", json={"mode": "pull"}, headers=head(name))
            assert answer.status_code == 200
        await http.post("/tasks", json={"task_type": "t", "task_id": "a"}, headers=head("admin"))
        pulled = await http.post("/nodes/mine/tasks/pull", json={"wait": 5}, headers=head("mine"))
        assert [task["task_id"] for task in pulled.json()["tasks"]] == ["a"]
        yield http


async def task(http: httpx2.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get("/tasks/a", headers=head("admin"))).json()["task"]
    return found


@pytest.mark.parametrize("named", [{}, {"node_id": "mine"}, {"node_id": "other"}, {"node_id": "unheard"}])
@pytest.mark.parametrize("attempt", [{}, {"attempt": 1}])
async def test_the_key_of_another_node_reports_nothing(tmp_path: Path, named: Any, attempt: Any) -> None:
    async with served(tmp_path) as http:
        said = named | attempt
        for status in (
            {"status": "completed", "result_data": "forged"},
            {"status": "completed", "result_data": LARGE},
            {"status": "failed", "retryable": False},
            {"status": "released"},
            {"status": "running"},
        ):
            one = await http.post("/tasks/a/result", json=said | status, headers=head("other"))
            assert one.status_code in (403, 409), one.text
            body = {"results": [{"task_id": "a"} | said | status]}
            [many] = (await http.post("/tasks/results", json=body, headers=head("other"))).json()["results"]
            assert (many["success"], many["code"]) in ((False, "forbidden"), (False, "conflict"))
            assert "another key" in many["error"] or "no longer on node 'other'" in many["error"]
        found = await task(http)
        assert (found["state"], found["node_id"], found["result_data"]) == ("assigned", "mine", None)

        done = {"status": "completed", "result_data": 1} | attempt
        for _ in ("first", "again"):
            assert (await http.post("/tasks/a/result", json=done, headers=head("mine"))).status_code == 200
        refused = await http.post("/tasks/a/result", json=done, headers=head("other"))
        assert (refused.status_code, refused.json()["error"]) == (403, SPOKEN)
        assert (await task(http))["result_data"] == 1


async def test_the_key_of_another_node_tells_no_progress(tmp_path: Path) -> None:
    async with served(tmp_path) as http:
        for said in ({"progress": 0.9}, {"logs": ["forged"]}, {"node_id": "mine", "message": "forged"}):
            refused = await http.post("/tasks/a/progress", json={"attempt": 1} | said, headers=head("other"))
            assert (refused.status_code, refused.json()["error"]) == (403, SPOKEN)
        assert (await http.get("/tasks/a/logs", headers=head("admin"))).json()["logs"] == []
        assert (await task(http))["state"] == "assigned"
        own = {"attempt": 1, "node_id": "mine", "progress": 0.5, "logs": ["own"]}
        answer = await http.post("/tasks/a/progress", json=own, headers=head("mine"))
        assert (answer.status_code, answer.json()["cancel"]) == (200, False)
        gone = await http.post("/tasks/nothing/progress", json={"attempt": 1}, headers=head("mine"))
        assert gone.json()["cancel"] is True


async def test_a_report_in_another_nodes_name_does_not_count(tmp_path: Path) -> None:
    """Who may speak for every node must still name the right one."""
    async with served(tmp_path) as http:
        for attempt in ({}, {"attempt": 1}):
            report = {"status": "completed", "node_id": "other"} | attempt
            refused = await http.post("/tasks/a/result", json=report, headers=head("admin"))
            assert (refused.status_code, refused.json()["error"]) == (409, "task 'a' is no longer on node 'other'")
            [many] = (
                await http.post("/tasks/results", json={"results": [{"task_id": "a"} | report]}, headers=head("admin"))
            ).json()["results"]
            assert many["code"] == "conflict"
        assert (await task(http))["state"] == "assigned"
        right = {"status": "completed", "node_id": "mine", "attempt": 1}
        assert (await http.post("/tasks/a/result", json=right, headers=head("admin"))).status_code == 200
