"""Schedules over HTTP and by the command line."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine

from service import RunningService, running_service

KEYS: dict[str, Any] = {
    "auth": {"enabled": True, "keys": [
        {"name": "boss", "key": "b" * 24, "role": "admin"}, {"name": "eyes", "key": "e" * 24, "role": "viewer"},
    ]}
}  # fmt: skip
TASK = {"task_type": "report", "input_data": {"secret": 1}, "priority": "high"}


def client(run: RunningService, key: str = "") -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.AsyncClient(base_url=f"{run.url}/api/v1", headers=headers, timeout=10)


async def test_the_life_of_a_schedule(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as run, client(run) as http:
        made = (
            await http.post("/schedules", json={"cron": "0 12 * * *", "timezone": "Asia/Tokyo", "task": TASK})
        ).json()
        assert made["success"]
        schedule_id = made["schedule_id"]
        path = f"/schedules/{schedule_id}"
        schedule = (await http.get(path)).json()["schedule"]
        assert schedule == made["schedule"]
        assert schedule["next_run_at"] % 86_400 == 3 * 3600
        ticks = (await http.get(f"{path}/next", params={"count": 3})).json()["next"]
        assert ticks == [schedule["next_run_at"] + 86_400 * n for n in range(3)]
        paused = (await http.post(f"{path}/pause")).json()["schedule"]
        assert (paused["paused"], paused["next_run_at"]) == (True, None)
        body = {"interval": 3600, "start_at": 0, "jitter": 60, "catch_up": "one", "task": TASK}
        changed = (await http.put(path, json=body)).json()["schedule"]
        assert (changed["paused"], changed["cron"], changed["interval"]) == (True, None, 3600)
        resumed = (await http.post(f"{path}/resume")).json()["schedule"]
        assert 0 <= resumed["next_run_at"] % 3600 < 60
        one = (await http.post(f"{path}/trigger", headers={"Idempotency-Key": "k"})).json()["task_id"]
        two = (await http.post(f"{path}/trigger", headers={"Idempotency-Key": "k"})).json()["task_id"]
        three = (await http.post(f"{path}/trigger")).json()["task_id"]
        assert one == two != three
        task = (await http.get(f"/tasks/{one}")).json()["task"]
        assert task["metadata"] == {"schedule_id": schedule_id, "scheduled_at": None}
        assert task["input_data"] == TASK["input_data"]
        assert (await http.get("/schedules")).json()["schedules"][0]["runs"] == 3
        assert (await http.delete(path)).status_code == 200
        gone = await http.get(path)
        assert (gone.status_code, gone.json()["details"]["code"]) == (404, "SCHEDULE_NOT_FOUND")
        for method, end in (("DELETE", ""), ("POST", "/pause"), ("POST", "/trigger"), ("GET", "/next")):
            assert (await http.request(method, path + end)).status_code == 404


async def test_ticks_become_tasks_also_after_a_restart(tmp_path: Path) -> None:
    begun = time.time()
    async with running_service({}, tmp_path) as run, client(run) as http:
        body = {"schedule_id": "fast", "interval": 1, "start_at": 0, "task": TASK}
        assert (await http.post("/schedules", json=body)).status_code == 200
        await seen(http, 2)
    async with running_service({}, tmp_path) as run, client(run) as http:
        tasks = await seen(http, 4)
    ticks = [task["metadata"]["scheduled_at"] for task in tasks]
    assert len(set(ticks)) == len(ticks)
    assert all(tick % 1 == 0 and begun < tick < time.time() for tick in ticks)


async def seen(http: httpx2.AsyncClient, count: int) -> list[dict[str, Any]]:
    """The tasks, once there are so many."""
    async with asyncio.timeout(15):
        while True:
            pending = (await http.get("/tasks", params={"status": "pending"})).json()["tasks"]["pending"]
            if len(pending) >= count:
                ids = [task["task_id"] for task in pending]
                return [(await http.get(f"/tasks/{one}")).json()["task"] for one in ids]
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("cron", {"task": TASK}),
        ("cron", {"task": TASK, "cron": "* * * * *", "interval": 5}),
        ("cron", {"task": TASK, "cron": "* * * *"}),
        ("cron", {"task": TASK, "cron": "0 0 30 2 *"}),
        ("timezone", {"task": TASK, "cron": "* * * * *", "timezone": "Mars/Base"}),
        ("timezone", {"task": TASK, "interval": 5, "timezone": "Mars/Base"}),
        ("interval", {"task": TASK, "interval": 0.5}),
        ("jitter", {"task": TASK, "interval": 5, "jitter": 6}),
        ("start_at", {"task": TASK, "cron": "* * * * *", "start_at": 5}),
        ("schedule_id", {"task": TASK, "interval": 5, "schedule_id": "a/b"}),
        ("task", {"interval": 5}),
        ("task", {"interval": 5, "task": {}}),
        ("task", {"interval": 5, "task": 5}),
        ("task.task_id", {"interval": 5, "task": TASK | {"task_id": "x"}}),
        ("task.priority", {"interval": 5, "task": TASK | {"priority": 9}}),
        ("task.metadata", {"interval": 5, "task": TASK | {"metadata": []}}),
    ],
)
async def test_wrong_schedules_are_refused_by_field(tmp_path: Path, field: str, body: dict[str, Any]) -> None:
    async with running_service({}, tmp_path) as run, client(run) as http:
        answer = await http.post("/schedules", json=body)
        assert (answer.status_code, answer.json()["details"].get("field")) == (400, field)
        for raw in (
            b"",
            b"[]",
            b"{",
            b'{"unknown": 1}',
            b'{"task": ' + b"[" * 5_000 + b"]" * 5_000 + b', "interval": 5}',
        ):
            wrong = await http.post("/schedules", content=raw, headers={"Content-Type": "application/json"})
            assert wrong.status_code == 400
        assert (await http.post("/schedules", content=b"{}")).status_code == 415
        assert (await http.get("/schedules")).json()["schedules"] == []


async def test_who_may_do_what(tmp_path: Path) -> None:
    async with running_service(KEYS, tmp_path) as run, client(run, "b" * 24) as boss, client(run, "e" * 24) as eyes:
        body = {"schedule_id": "s", "interval": 60, "task": TASK}
        assert (await eyes.post("/schedules", json=body)).status_code == 403
        assert (await boss.post("/schedules", json=body)).status_code == 200
        assert (await boss.post("/schedules", json=body)).status_code == 409
        assert (await boss.get("/schedules/s")).json()["schedule"]["task"] == TASK
        assert "input_data" not in (await eyes.get("/schedules/s")).json()["schedule"]["task"]
        for method, path in (("PUT", "s"), ("DELETE", "s"), ("POST", "s/pause"), ("POST", "s/trigger")):
            assert (await eyes.request(method, f"/schedules/{path}")).status_code == 403


async def test_pages(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as run, client(run) as http:
        for name in "abc":
            await http.post("/schedules", json={"schedule_id": name, "interval": 60, "task": TASK})
        first = (await http.get("/schedules", params={"limit": 2})).json()
        second = (await http.get("/schedules", params={"limit": 2, "after": first["next"]})).json()
        assert [one["schedule_id"] for one in first["schedules"] + second["schedules"]] == ["a", "b", "c"]
        assert second["next"] is None


async def test_by_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as running:
        run = CommandLine(capsys).at(running.url)
        assert "no schedules" in (await run("schedules", "list")).err
        file = tmp_path / "task.json"
        file.write_text(json.dumps(TASK))
        made = await run(
            "schedules", "create", "nightly", f"@{file}", "--cron", "30 2 * * *", "--timezone", "Asia/Tokyo"
        )
        assert "Added nightly. The next run is at" in made.err
        assert (await run("schedules", "create", "x", "{")).status == 2
        assert (await run("schedules", "create", "x", "@nowhere", "--interval", "5m")).status == 2
        assert (await run("schedules", "create", "often", '{"task_type": "t"}', "--interval", "5m")).status == 0
        rows = (await run("schedules")).rows
        assert [(row["id"], row["when"]) for row in rows] == [
            ("nightly", "30 2 * * * Asia/Tokyo"),
            ("often", "every 5 min"),
        ]
        assert (await run("schedules", "next", "nightly", "--count", "2")).rows[1]["UTC"].endswith("17:30:00")
        assert "resume nightly" in (await run("schedules", "pause", "nightly")).err
        assert (await run("schedules")).rows[0]["next"] == "paused"
        assert "goes on" in (await run("schedules", "resume", "nightly")).err
        assert (await run("schedules", "trigger", "nightly")).out.startswith("task_")
        assert '"task_type": "report"' in (await run("schedules", "show", "nightly")).out
        assert (await run("schedules", "delete", "nightly")).status == 2
        assert "Deleted nightly" in (await run("schedules", "delete", "nightly", "--yes")).err
        assert (await run("schedules", "show", "nightly")).status == 1
