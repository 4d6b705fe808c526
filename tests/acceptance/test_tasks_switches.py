"""What an operator has switched off stays off over a restart."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import httpx2
import pytest

from service import running_service, spawned_service

ADMIN = "/api/orchestrator"
API = "/api/v1"
CONFIG = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}


def client(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False)


async def test_a_stop_and_paused_types_outlive_a_restart(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        await http.post(f"{API}/nodes/n/register", json={"mode": "pull"})
        for kind in ("held", "free"):
            await http.post(f"{API}/tasks", json={"task_type": kind, "task_id": kind})
        await http.post(f"{API}/tasks/types/held/pause")
        await http.post(f"{API}/tasks/types/free/pause")
        await http.post(f"{API}/tasks/types/free/resume")
        await http.post(f"{API}/control/stop")
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        refused = await http.post(f"{API}/tasks", json={"task_type": "t"})
        stopped = (await http.get(f"{API}/status")).json()["running"]
        await http.post(f"{API}/control/start")
        pulled = (await http.post(f"{API}/nodes/n/tasks/pull", json={"limit": 9, "wait": 5})).json()["tasks"]
        types = (await http.get(f"{API}/tasks/types")).json()["types"]
        await http.post(f"{API}/tasks/types/held/resume")
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        again = (await http.post(f"{API}/nodes/n/tasks/pull", json={"limit": 9, "wait": 5})).json()["tasks"]
    assert (refused.status_code, stopped) == (503, False)
    assert [task["task_id"] for task in pulled] == ["free"]
    assert types == [{"task_type": "held", "ready": 1, "paused": True}]
    assert "held" in [task["task_id"] for task in again]


@pytest.mark.parametrize("way", ["", "?by=route"])
async def test_a_stopped_orchestrator_refuses_a_batch_as_it_does_one_task(tmp_path: Path, way: str) -> None:
    bodies = [{"task_type": "t"}, {"task_type": ""}, {"task_type": "t", "dependencies": ["x"]}]
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        await http.post(f"{API}/control/stop")
        one = await http.post(f"{API}/tasks{way}", json=bodies[0])
        many = await http.post(f"{API}/tasks/batch{way}", json={"tasks": bodies})
        await http.post(f"{API}/control/start")
        later = await http.post(f"{API}/tasks/batch{way}", json={"tasks": bodies[:2]})
        summary = (await http.get(f"{API}/tasks")).json()["summary"]
    assert (one.status_code, many.status_code) == (503, 503)
    assert many.json()["details"] == {"code": "ORCHESTRATOR_NOT_STARTED", "retryable": True}
    assert many.json().keys() == one.json().keys()
    assert (later.status_code, len(later.json()["task_ids"])) == (200, 1)
    assert summary["pending_count"] == 1


async def test_a_type_that_no_database_can_keep_is_not_paused(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        for name in ("%00", "x" * 600):
            for action in ("pause", "resume"):
                answer = await http.post(f"{API}/tasks/types/{name}/{action}")
                assert answer.status_code == 400, answer.text
        assert (await http.get(f"{API}/tasks/types")).json()["types"] == []


async def test_a_paused_queue_outlives_a_restart(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        await http.post(f"{ADMIN}/queue/pause")
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        paused = (await http.get(f"{ADMIN}/queue")).json()["queue"]["paused"]
        await http.post(f"{ADMIN}/queue/resume")
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        resumed = (await http.get(f"{ADMIN}/queue")).json()["queue"]["paused"]
    assert (paused, resumed) == (True, False)


async def test_a_drain_ends_with_the_process_that_ends_in_good_order(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        await http.post(f"{ADMIN}/drain")
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        assert (await http.get(f"{ADMIN}/drain")).json()["draining"] is False


async def test_a_process_that_is_killed_drains_again(tmp_path: Path) -> None:
    with spawned_service(CONFIG, tmp_path) as run:
        async with client(run.url) as http:
            await http.post(f"{ADMIN}/drain")
        run.kill()
    async with running_service(CONFIG, tmp_path) as again, client(again.url) as http:
        drain = (await http.get(f"{ADMIN}/drain")).json()
        await http.post(f"{ADMIN}/drain/cancel")
    async with running_service(CONFIG, tmp_path) as again, client(again.url) as http:
        cancelled = (await http.get(f"{ADMIN}/drain")).json()
    assert (drain["draining"], cancelled["draining"]) == (True, False)


async def test_replicas_stop_and_start_together(tmp_path: Path, postgres_url: str) -> None:
    config = CONFIG | {"database": {"url": postgres_url}}
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with (
        running_service(config, one) as first,
        running_service(config, two) as second,
        client(first.url) as http,
    ):
        await http.post(f"{API}/control/stop")
        await http.post(f"{API}/tasks/types/t/pause")
        await http.post(f"{ADMIN}/queue/pause")
        await second.until(lambda: second.service.tasks.stopped and second.service.tasks.paused_types == {"t"})
        assert second.service.gateway.queue.paused is False
        await http.post(f"{API}/control/start")
        await http.post(f"{API}/tasks/types/t/resume")
        await second.until(lambda: not second.service.tasks.stopped and not second.service.tasks.paused_types)
        assert first.service.tasks.stopped is False


@pytest.mark.parametrize("name", ["a%2Fb", "a/b", "%2Fa%2F", "pause%2Fpause"])
async def test_a_type_with_slashes_is_paused_and_resumed(tmp_path: Path, name: str) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        await http.post(f"{API}/tasks", json={"task_type": unquote(name)})
        paused = []
        for action in ("pause", "resume"):
            answer = await http.post(f"{API}/tasks/types/{name}/{action}")
            assert answer.json()["task_type"] == unquote(name), answer.text
            [one] = (await http.get(f"{API}/tasks/types")).json()["types"]
            assert one["task_type"] == unquote(name)
            paused.append(one["paused"])
    assert paused == [True, False]


async def test_no_type_at_all_cannot_be_paused(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as run, client(run.url) as http:
        answer = await http.post(f"{API}/tasks/types//pause")
        assert answer.status_code == 400, answer.text
        assert (await http.get(f"{API}/tasks/types")).json()["types"] == []
