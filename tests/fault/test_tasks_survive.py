"""Tasks survive a stop of the service and the loss of one of two replicas, both under load; and what becomes of single
tasks when a node or the service is gone. (test_tasks_failpoints_* kill the service, test_tasks_lost_* all others.)"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import SpawnedService, merged, spawned_service
from task_load import CONFIG, Load, Place, completed, summary, until
from worker_stubs import API, Worker, pull_worker, push_worker

LEASE = 6.0  # seconds that a replica's tasks stay its own after its last word
PAUSE = 0.03  # seconds between a client's tasks


async def _tasks(url: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    async with httpx2.AsyncClient(base_url=url + API, timeout=20, trust_env=False) as client:
        found: dict[str, dict[str, Any]] = {}
        for task_id in ids:
            answer = await client.get(f"/tasks/{task_id}")
            assert answer.status_code == 200, f"{task_id} is lost: {answer.text}"
            found[task_id] = answer.json()["task"]
        return found


async def test_tasks_survive_a_stop_of_the_service(database_url: str, tmp_path: Path) -> None:
    place = Place()
    load = Load(place, pause=PAUSE)
    arguments = ("--database-url", database_url)
    async with AsyncExitStack() as stack:
        with spawned_service(CONFIG, tmp_path, arguments=arguments) as service:
            place.urls = [service.url]
            accepting = push_worker("async", place, seconds=0.03, accepts=True, listener=load.note)
            workers: list[Worker] = [
                await stack.enter_async_context(push_worker("sync", place, seconds=0.02, listener=load.note)),
                await stack.enter_async_context(accepting),
                await stack.enter_async_context(pull_worker("pull", place, seconds=0.02, listener=load.note)),
            ]
            clients = await stack.enter_async_context(load.clients())
            await until(load.part(0.3, workers))
            service.process.terminate()
            assert await asyncio.to_thread(service.ended, 10) == 0
            load.fault()
        assert len(load.accepted) < len(load.keys), "it was not under load"
        with spawned_service(CONFIG, tmp_path, arguments=arguments) as service:
            place.urls = [service.url]
            await load.finish(service.url, clients, workers, 60)
    await load.check(database_url)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped for longer than its lease"])
async def test_one_of_two_replicas_is_gone(how: signal.Signals, postgres_url: str, tmp_path: Path) -> None:
    place = Place()
    load = Load(place, pause=PAUSE)
    arguments = ("--database-url", postgres_url)
    async with AsyncExitStack() as stack:
        replicas: list[SpawnedService] = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            replicas.append(stack.enter_context(spawned_service(CONFIG, tmp_path / name, arguments=arguments)))
        place.urls = [replica.url for replica in replicas]
        workers: list[Worker] = [
            await stack.enter_async_context(pull_worker(f"pull{n}", place, seconds=0.02, listener=load.note))
            for n in range(3)
        ]
        accepting = push_worker("push", place, seconds=0.05, accepts=True, listener=load.note)
        workers.append(await stack.enter_async_context(accepting))
        clients = await stack.enter_async_context(load.clients())
        await until(load.part(0.3, workers))
        load.fault()
        replicas[0].process.send_signal(how)
        place.urls = [replicas[1].url]
        assert len(load.accepted) < len(load.keys), "it was not under load"
        if how == signal.SIGSTOP:
            await asyncio.sleep(LEASE + 2)
            replicas[0].process.send_signal(signal.SIGCONT)
        await load.finish(replicas[1].url, clients, workers, 40)
    await load.check(postgres_url)


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
            await completed(service.url, 1_000)
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
            await until(lambda: len(dead.given) == 3)
            await dead.die()
            other = await stack.enter_async_context(push_worker("other", place))
            other.spawn(other.beat(0.2))
            await completed(service.url, 3, timeout=10)
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
            await until(lambda: dead.given)
            async with asyncio.timeout(5):
                while (await _tasks(service.url, [task_id]))[task_id]["state"] != "running":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            service.kill()
        await dead.die()
        with spawned_service(QUICK, tmp_path) as service:
            place.urls = [service.url]
            other = await stack.enter_async_context(push_worker("other", place))
            other.spawn(other.beat(0.2))
            await completed(service.url, 1, timeout=10)
            task = (await _tasks(service.url, [task_id]))[task_id]
            assert (task["node_id"], task["retry_count"], task["attempt"]) == ("other", 1, 2)


async def test_the_late_word_of_a_node_that_was_given_up_is_refused(tmp_path: Path) -> None:
    place = Place()
    with spawned_service(QUICK, tmp_path) as service:
        place.urls = [service.url]
        async with push_worker("slow", place, accepts=True) as slow, AsyncExitStack() as stack:
            slow.silent = True  # as a process that was stopped
            task_id = await _submit(service.url, input_data=1)
            await until(lambda: slow.tasks)
            other = await stack.enter_async_context(push_worker("other", place, seconds=1.5, accepts=True))
            other.spawn(other.beat(0.2))
            await until(lambda: other.given)
            assert await slow.say(slow.tasks[0]) == 409, "while the next attempt runs"
            await completed(service.url, 1, timeout=10)
            assert await slow.say(slow.tasks[0]) == 409, "and when it has ended"
            assert await slow.say(slow.tasks[0], attempt=None) == 409, "and when it does not say which attempt it means"
            task = (await _tasks(service.url, [task_id]))[task_id]
            assert task["result"] == {"node": "other", "attempt": 2, "input": 1}
            assert (task["status"], task["node_id"], task["attempt"]) == ("completed", "other", 2)
            assert other.taken == [(task_id, 2)]
            assert await other.say({"task_id": task_id, "attempt": 2, "input_data": 1}) == 200, "the same word again"
            assert (await summary(service.url))["completed_count"] == 1


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
