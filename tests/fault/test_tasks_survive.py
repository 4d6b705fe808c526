"""No accepted task is lost and none is recorded twice: when the service is killed or stopped, when a node dies, and
when one of two replicas does."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from servers.postgres import PostgresServer
from service import SpawnedService, merged, spawned_service
from worker_stubs import API, Worker, pull_worker, push_worker

CONFIG: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
COUNT = 300
LEFT = ("pending", "active", "failed")
LEASE = 6.0  # seconds that a replica's tasks stay its own after its last word


class Place:
    """Where the service is just now."""

    def __init__(self) -> None:
        self.urls = ["http://127.0.0.1:1"]
        self._turn = 0

    def __call__(self) -> str:
        """One of the replicas, by turns."""
        self._turn += 1
        return self.urls[self._turn % len(self.urls)]


@asynccontextmanager
async def _clients(
    place: Place, ids: Iterable[str], acknowledged: set[str], pause: float = 0.0
) -> AsyncIterator[asyncio.Future[Any]]:
    """Eight clients that submit tasks until each is acknowledged, whatever happens to the service. Each rests for
    `pause` seconds before a task."""
    left = iter(ids)

    async def submit() -> None:
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
            for task_id in left:
                await asyncio.sleep(pause)
                body = {"task_id": task_id, "task_type": "noop", "input_data": {"id": task_id}, "priority": 3}
                while task_id not in acknowledged:
                    try:
                        answer = await client.post(place() + API + "/tasks", json=body)
                    except httpx2.HTTPError:
                        await asyncio.sleep(0.05)
                        continue
                    if answer.status_code == 200:
                        acknowledged.add(task_id)
                    else:
                        assert answer.status_code == 503, answer.text
                        await asyncio.sleep(0.05)

    work = asyncio.gather(*(submit() for _ in range(8)))
    try:
        yield work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _tasks(url: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    async with httpx2.AsyncClient(base_url=url + API, timeout=20, trust_env=False) as client:
        found: dict[str, dict[str, Any]] = {}
        for task_id in ids:
            answer = await client.get(f"/tasks/{task_id}")
            assert answer.status_code == 200, f"{task_id} is lost: {answer.text}"
            found[task_id] = answer.json()["task"]
        return found


async def _summary(url: str) -> dict[str, int]:
    async with httpx2.AsyncClient(base_url=url + API, timeout=20, trust_env=False) as client:
        summary: dict[str, int] = (await client.get("/tasks?limit=1")).json()["summary"]
        return summary


async def _completed(url: str, count: int, timeout: float = 60.0) -> None:
    try:
        async with asyncio.timeout(timeout):
            while (await _summary(url))["completed_count"] < count:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.05)
    except TimeoutError:
        async with httpx2.AsyncClient(base_url=url + API, timeout=20, trust_env=False) as client:
            left = [(await client.get(f"/tasks?status={name}&limit=5")).json()["tasks"] for name in LEFT]
        raise AssertionError(f"not all completed: {await _summary(url)}: {left}") from None


async def _until(condition: Any, timeout: float = 20.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)


async def _check_history(url: str, ids: list[str], workers: Iterable[Worker]) -> None:
    """What the service recorded and what the nodes saw are one story."""
    given: Counter[tuple[str, int]] = Counter()
    for worker in workers:
        given.update(worker.given)
    assert set(given.values()) == {1}, "an attempt was handed out twice"
    found = await _tasks(url, ids)
    for task_id, task in found.items():
        assert (task["status"], task["retry_count"]) == ("completed", 0), task
        result = task["result"]
        assert result["input"] == {"id": task_id}
        assert (result["node"], result["attempt"]) == (task["node_id"], task["attempt"]), "another attempt's result"
        assert (task_id, task["attempt"]) in given
        assert max(attempt for other, attempt in given if other == task_id) == task["attempt"]
    for worker in workers:
        for task_id, attempt in worker.taken:
            assert found[task_id]["attempt"] == attempt, "a report counted that was not of the last attempt"
    summary = await _summary(url)
    assert summary == {"pending_count": 0, "active_count": 0, "completed_count": len(ids), "failed_count": 0}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
async def test_tasks_survive_the_end_of_the_service(how: signal.Signals, database_url: str, tmp_path: Path) -> None:
    place, acknowledged, ids = Place(), set[str](), [f"t{n}" for n in range(COUNT)]
    arguments = ("--database-url", database_url)
    async with AsyncExitStack() as stack:
        with spawned_service(CONFIG, tmp_path, arguments=arguments) as service:
            place.urls = [service.url]
            workers: list[Worker] = [
                await stack.enter_async_context(push_worker("sync", place, seconds=0.02)),
                await stack.enter_async_context(push_worker("async", place, seconds=0.03, accepts=True)),
                await stack.enter_async_context(pull_worker("pull", place, seconds=0.02)),
            ]
            clients = await stack.enter_async_context(_clients(place, ids, acknowledged))
            await _until(lambda: len(acknowledged) >= COUNT // 3 and all(len(one.given) > 10 for one in workers))
            began = time.monotonic()
            service.process.send_signal(how)
            assert await asyncio.to_thread(service.process.wait, 20) == (0 if how == signal.SIGTERM else -how)
            assert time.monotonic() - began < 10
        assert len(acknowledged) < COUNT, "it was not under load"
        with spawned_service(CONFIG, tmp_path, arguments=arguments) as service:
            place.urls = [service.url]
            async with asyncio.timeout(60):
                await clients
            await _completed(service.url, COUNT)
            await _check_history(service.url, ids, workers)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped for longer than its lease"])
async def test_one_of_two_replicas_is_gone(how: signal.Signals, postgres_url: str, tmp_path: Path) -> None:
    place, acknowledged, ids = Place(), set[str](), [f"t{n}" for n in range(COUNT)]
    arguments = ("--database-url", postgres_url)
    async with AsyncExitStack() as stack:
        replicas: list[SpawnedService] = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            replicas.append(stack.enter_context(spawned_service(CONFIG, tmp_path / name, arguments=arguments)))
        place.urls = [replica.url for replica in replicas]
        workers: list[Worker] = [
            await stack.enter_async_context(pull_worker(f"pull{n}", place, seconds=0.02)) for n in range(3)
        ]
        workers.append(await stack.enter_async_context(push_worker("push", place, seconds=0.05, accepts=True)))
        clients = await stack.enter_async_context(_clients(place, ids, acknowledged, 0.1))
        await _until(lambda: len(acknowledged) >= COUNT // 3 and all(len(one.given) > 5 for one in workers))
        replicas[0].process.send_signal(how)
        place.urls = [replicas[1].url]
        assert len(acknowledged) < COUNT, "it was not under load"
        if how == signal.SIGSTOP:
            await asyncio.sleep(LEASE + 2)
            replicas[0].process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            await clients
        await _completed(replicas[1].url, COUNT, timeout=25)
        await _check_history(replicas[1].url, ids, workers)


async def test_tasks_survive_a_database_that_goes_away(
    postgres_url: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    place, acknowledged, ids = Place(), set[str](), [f"t{n}" for n in range(COUNT)]
    name = postgres_url.rpartition("/")[2]
    mine = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with AsyncExitStack() as stack:
        service = stack.enter_context(spawned_service(CONFIG, tmp_path, arguments=("--database-url", postgres_url)))
        place.urls = [service.url]
        workers: list[Worker] = [
            await stack.enter_async_context(push_worker("sync", place, seconds=0.02)),
            await stack.enter_async_context(pull_worker("pull", place, seconds=0.02)),
        ]
        clients = await stack.enter_async_context(_clients(place, ids, acknowledged, 0.05))
        for part in (1, 2, 3):
            await _until(lambda part=part: len(acknowledged) >= COUNT * part // 4)
            await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await asyncio.to_thread(postgres_server.execute, mine)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert len(acknowledged) < COUNT, "it was not under load"
        async with asyncio.timeout(60):
            await clients
        await _completed(service.url, COUNT)
        await _check_history(service.url, ids, workers)


async def test_a_restart_with_a_queue_hands_out_at_once(tmp_path: Path) -> None:
    place = Place()
    with spawned_service(CONFIG, tmp_path) as service:
        place.urls = [service.url]
        async with httpx2.AsyncClient(base_url=service.url + API, timeout=20, trust_env=False) as client:
            for start in range(0, 1_000, 100):
                batch = [{"task_id": f"t{n}", "task_type": "noop"} for n in range(start, start + 100)]
                answer = await client.post("/tasks/batch", json={"tasks": batch})
                assert answer.status_code == 200, answer.text
        service.kill()
    with spawned_service(CONFIG, tmp_path) as service:
        place.urls = [service.url]
        ready = time.monotonic()
        async with push_worker("m", place) as worker:
            await asyncio.wait_for(worker.came.wait(), 5)
            assert time.monotonic() - ready < 1
            await _completed(service.url, 1_000)
            assert Counter(worker.given).most_common(1)[0][1] == 1


QUICK = merged(CONFIG, {"tasks": {"node_timeout": 1.0, "heartbeat_interval": 0.2}})


async def _submit(url: str, **body: Any) -> str:
    async with httpx2.AsyncClient(base_url=url + API, timeout=20, trust_env=False) as client:
        answer = await client.post("/tasks", json={"task_type": "noop", **body})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])


@pytest.mark.parametrize("accepts", [True, False], ids=["accepted", "in the middle"])
async def test_what_a_dead_node_worked_on_runs_elsewhere(accepts: bool, tmp_path: Path) -> None:
    place = Place()
    with spawned_service(QUICK, tmp_path) as service:
        place.urls = [service.url]
        async with push_worker("dead", place, seconds=30, accepts=accepts) as dead, AsyncExitStack() as stack:
            task_ids = [await _submit(service.url, backoff={"base": 0.1, "most": 0.1}) for _ in range(3)]
            await _until(lambda: len(dead.given) == 3)
            await dead.die()
            other = await stack.enter_async_context(push_worker("other", place))
            other.spawn(other.beat(0.2))
            await _completed(service.url, 3, timeout=10)
            for task in (await _tasks(service.url, task_ids)).values():
                assert (task["node_id"], task["retry_count"], task["attempt"]) == ("other", 1, 2)
            if accepts:  # nobody but the missing heartbeats told that the node is gone
                async with httpx2.AsyncClient(base_url=service.url + API, timeout=20, trust_env=False) as client:
                    listed = (await client.get("/nodes")).json()["nodes"]
                assert {name: node["status"] for name, node in listed.items()} == {"dead": "offline", "other": "active"}


async def test_a_node_that_died_while_the_service_was_away(tmp_path: Path) -> None:
    place = Place()
    async with AsyncExitStack() as stack:
        with spawned_service(QUICK, tmp_path) as service:
            place.urls = [service.url]
            dead = await stack.enter_async_context(push_worker("dead", place, seconds=30, accepts=True))
            task_id = await _submit(service.url)
            await _until(lambda: dead.given)
            async with asyncio.timeout(5):
                while (await _tasks(service.url, [task_id]))[task_id]["state"] != "running":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            service.kill()
        await dead.die()
        with spawned_service(QUICK, tmp_path) as service:
            place.urls = [service.url]
            other = await stack.enter_async_context(push_worker("other", place))
            other.spawn(other.beat(0.2))
            await _completed(service.url, 1, timeout=10)
            task = (await _tasks(service.url, [task_id]))[task_id]
            assert (task["node_id"], task["retry_count"], task["attempt"]) == ("other", 1, 2)


async def test_the_late_word_of_a_node_that_was_given_up_is_refused(tmp_path: Path) -> None:
    place = Place()
    with spawned_service(QUICK, tmp_path) as service:
        place.urls = [service.url]
        async with push_worker("slow", place, accepts=True) as slow, AsyncExitStack() as stack:
            slow.silent = True  # as a process that was stopped
            task_id = await _submit(service.url, input_data=1)
            await _until(lambda: slow.tasks)
            other = await stack.enter_async_context(push_worker("other", place, seconds=1.5, accepts=True))
            other.spawn(other.beat(0.2))
            await _until(lambda: other.given)
            assert await slow.say(slow.tasks[0]) == 409, "while the next attempt runs"
            await _completed(service.url, 1, timeout=10)
            assert await slow.say(slow.tasks[0]) == 409, "and when it has ended"
            assert await slow.say(slow.tasks[0], attempt=None) == 409, "and when it does not say which attempt it means"
            task = (await _tasks(service.url, [task_id]))[task_id]
            assert task["result"] == {"node": "other", "attempt": 2, "input": 1}
            assert (task["status"], task["node_id"], task["attempt"]) == ("completed", "other", 2)
            assert other.taken == [(task_id, 2)]
            assert await other.say({"task_id": task_id, "attempt": 2, "input_data": 1}) == 200, "the same word again"
            assert (await _summary(service.url))["completed_count"] == 1


async def test_a_task_that_is_sent_again_is_acknowledged_when_it_is_durable(tmp_path: Path) -> None:
    """A client that gives up and tries again must not hear yes while the first try waits to be written."""
    with spawned_service(CONFIG, tmp_path) as service, httpx2.Client(trust_env=False) as probe:
        [file] = (tmp_path / "data").glob("*.db")
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with httpx2.AsyncClient(base_url=service.url + API, timeout=20, trust_env=False) as client:
            body = {"task_id": "t", "task_type": "noop"}
            tries = [asyncio.create_task(client.post("/tasks", json=body)) for _ in range(2)]
            done, _ = await asyncio.wait(tries, timeout=1.0)
            assert not done, [one.result().text for one in done]
            assert probe.get(service.url + API + "/tasks/t").status_code == 404
            other.execute("ROLLBACK")
            assert [(await one).status_code for one in tries] == [200, 200]
            service.kill()
        other.close()
    with spawned_service(CONFIG, tmp_path) as service:
        assert (await _tasks(service.url, ["t"]))["t"]["status"] == "pending"
