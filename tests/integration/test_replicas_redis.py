"""Two replicas that speak through a real Redis, which comes and goes."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.adapters.redis import RedisWakeups
from orchestrator.domain.errors import ConfigurationError
from orchestrator.ports.wakeups import Wakeup
from servers import redis
from service import RunningService, two_replicas

V1 = "/api/v1"
SOON = 0.5  # seconds; the look for queued tasks that comes by itself is 1 s apart


class Listener:
    """One side of the words, which it keeps."""

    def __init__(self, url: str, owner: str, installation: str = "i") -> None:
        self.wakeups = RedisWakeups(url, installation, owner)
        self.heard: list[Wakeup] = []
        self._some = asyncio.Event()

    def __call__(self, kind: Wakeup) -> None:
        self.heard.append(kind)
        self._some.set()

    async def until(self, *kinds: Wakeup, within: float = 15.0) -> None:
        """Until it has heard exactly these since the last time."""
        async with asyncio.timeout(within):
            while not set(kinds) <= set(self.heard):
                self._some.clear()
                await self._some.wait()
        assert set(self.heard) == set(kinds)
        self.heard.clear()


@asynccontextmanager
async def listening(*listeners: Listener) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.wakeups.run(one)) for one in listeners]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def test_words_reach_the_others_once(redis_server: redis.RedisServer) -> None:
    one, two = Listener(redis_server.url, "one"), Listener(redis_server.url, "two")
    stranger = Listener(redis_server.url, "x", "another")
    async with listening(one, two, stranger):
        for each in (one, two, stranger):
            await each.until(*Wakeup)  # who begins to listen may have missed something
        for _ in range(1_000):
            one.wakeups.tell(Wakeup.QUEUED)
            one.wakeups.tell(Wakeup.EVENTS)
        await two.until(Wakeup.QUEUED, Wakeup.EVENTS)
        two.wakeups.tell(Wakeup.FINISHED)
        await one.until(Wakeup.FINISHED)
    assert one.heard == two.heard == stranger.heard == []


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_redis_that_comes_and_goes(
    redis_server: redis.RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "orchestrator.redis")
    one, two = Listener(redis_server.url, "one"), Listener(redis_server.url, "two")
    async with listening(one, two):
        for each in (one, two):
            await each.until(*Wakeup)
        if how == "killed":
            redis_server.kill()
        else:
            redis_server.signal(signal.SIGSTOP)
        async with asyncio.timeout(30):
            while [record.message for record in caplog.records].count("redis_gone") < 2:
                one.wakeups.tell(Wakeup.QUEUED)
                two.wakeups.tell(Wakeup.QUEUED)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # some more tries, of which nothing is logged
        if how == "killed":
            await asyncio.to_thread(redis_server.start)
        else:
            redis_server.signal(signal.SIGCONT)
        async with asyncio.timeout(30):
            while [record.message for record in caplog.records].count("redis_back") < 2:  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        one.heard.clear()
        two.heard.clear()
        one.wakeups.tell(Wakeup.FINISHED)
        await two.until(Wakeup.FINISHED)
    words = [record.message for record in caplog.records]
    assert (words.count("redis_gone"), words.count("redis_back")) == (2, 2)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://127.0.0.1:port", "redis"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError):
        RedisWakeups(url, "i", "one")


async def round_trip(one: RunningService, two: RunningService, client: httpx2.AsyncClient, task_id: str) -> float:
    """A task that one replica takes in, a node of the other runs and reports to it; a caller at the first waits. How
    long it took, in seconds, from the submission to the caller's answer."""
    pulling = asyncio.create_task(client.post(f"{two.url}{V1}/nodes/n/tasks/pull", json={"wait": 30}))
    await two.until(lambda: two.service.scheduler.seats.by_id["n"].most > 0)
    begun = time.monotonic()
    answer = await client.post(f"{one.url}{V1}/tasks", json={"task_type": "t", "task_id": task_id})
    assert answer.status_code == 200, answer.text
    waiting = asyncio.create_task(client.get(f"{one.url}{V1}/tasks/{task_id}?wait=30"))
    [task] = (await pulling).json()["tasks"]
    report = {"status": "completed", "attempt": task["attempt"], "node_id": "n", "result_data": 1}
    await client.post(f"{two.url}{V1}/tasks/{task_id}/result", json=report)
    found: dict[str, Any] = (await waiting).json()["task"]
    assert found["result_data"] == 1
    return time.monotonic() - begun


async def test_replicas_hear_of_each_other_at_once_and_without_redis_too(
    postgres_url: str, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    config = {"database": {"url": postgres_url}, "redis": {"url": redis_server.url}}
    async with two_replicas(config, tmp_path) as (one, two, client):
        await client.post(f"{two.url}{V1}/nodes/n/register", json={"host": "h", "mode": "pull"})
        with_it = [await round_trip(one, two, client, f"with-{number}") for number in range(5)]
        redis_server.kill()
        without = [await round_trip(one, two, client, f"without-{number}") for number in range(3)]
        redis_server.start()
        async with asyncio.timeout(15):
            while await round_trip(one, two, client, f"again-{time.monotonic_ns()}") > SOON:
                pass
    assert sorted(with_it)[2] < SOON
    assert max(without) < 10
