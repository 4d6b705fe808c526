"""`orchestrator start --restart`: a process that dies is followed by another."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from service import SpawnedService, spawned_service

RESTART = ("--restart",)


def serving(service: SpawnedService) -> psutil.Process:
    [child] = psutil.Process(service.process.pid).children()
    return child


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a process's end is no event here
            await asyncio.sleep(0.01)


async def test_nothing_is_lost_and_nobody_refused_when_the_process_is_killed(tmp_path: Path) -> None:
    with spawned_service({}, tmp_path, arguments=RESTART) as service:
        async with httpx2.AsyncClient(base_url=service.url, timeout=20, trust_env=False) as client:
            body = {"task_type": "nobody-does-this", "input_data": {}}
            task_id = (await client.post("/api/v1/tasks", json=body)).json()["task_id"]
        for _ in range(2):
            dying = serving(service)
            dying.kill()
            async with httpx2.AsyncClient(base_url=service.url, timeout=20, trust_env=False) as client:
                # The watcher holds the socket: this waits until the next process answers.
                found = await client.get(f"/api/v1/tasks/{task_id}")
            assert found.status_code == 200
            assert found.json()["task"]["task_id"] == task_id
            assert serving(service).pid != dying.pid
        assert "SIGKILL" in service.log.read_text()
        assert service.process.poll() is None


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_stops_in_good_order(tmp_path: Path, sig: signal.Signals) -> None:
    with spawned_service({}, tmp_path, arguments=RESTART) as service:
        child = serving(service)
        service.process.send_signal(sig)
        assert service.ended(20) == 0
        await until(lambda: not child.is_running())
        assert "Stopped." in service.log.read_text()


async def test_without_its_watcher_nothing_goes_on(tmp_path: Path) -> None:
    with spawned_service({}, tmp_path, arguments=RESTART) as service:
        child = serving(service)
        service.kill()
        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_one_that_gives_up_by_itself_is_not_begun_again(tmp_path: Path) -> None:
    broken = tmp_path / "no-database"
    broken.mkdir()
    with spawned_service(
        {"database": {"url": f"sqlite:///{broken}"}}, tmp_path, arguments=RESTART, ready=False
    ) as service:
        assert service.ended(20) in (1, 2)
        assert "starting again" not in service.log.read_text()


async def test_one_that_dies_at_once_again_and_again_is_begun_after_pauses(tmp_path: Path) -> None:
    with spawned_service({}, tmp_path, arguments=RESTART) as service:
        begun = time.monotonic()
        killed: set[int] = set()
        while len(killed) < 4:
            for child in psutil.Process(service.process.pid).children():
                if child.pid not in killed:
                    killed.add(child.pid)
                    child.kill()
            await asyncio.sleep(0.005)
        assert time.monotonic() - begun >= 0.1 + 0.2 - 0.05  # after the second and the third
        async with httpx2.AsyncClient(timeout=20, trust_env=False) as client:
            assert (await client.get(f"{service.url}/health")).status_code == 200
        service.process.terminate()
        assert service.ended(20) == 0
