"""Limits that hold for two replicas together, as long as they have a Redis."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from redis.asyncio import Redis

from orchestrator.adapters.redis import RedisCounters
from orchestrator.domain.limiter import RateLimit
from orchestrator.ports.shared_counters import SharedCounters
from orchestrator.testing.model_server import Model, ModelServer
from servers import redis
from service import RunningService, two_replicas

SLOTS = 4
RATE = 6
FREE, LIMITED = "sk-free-0123456789abcdef", "sk-limited-0123456789abcdef"
KEYS = [{"name": "free", "key": FREE}, {"name": "limited", "key": LIMITED, "rate_limit": RATE}]


class Pair:
    """Two replicas with one node, and a client of both."""

    def __init__(self, one: RunningService, two: RunningService, node: ModelServer, client: httpx2.AsyncClient) -> None:
        self.one, self.two, self.node, self.client = one, two, node, client

    async def ask(self, replica: RunningService, key: str = FREE) -> int:
        """The status of an answer."""
        headers = {"Authorization": f"Bearer {key}"}
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        return (await self.client.post(f"{replica.url}/v1/chat/completions", json=body, headers=headers)).status_code

    def ask_all(self, replica: RunningService, count: int) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.ask(replica)) for _ in range(count)]

    async def knows(self, replica: RunningService, elsewhere: int) -> None:
        """Until the replica has heard that the node has so many requests of others."""
        await replica.until(lambda: replica.service.fleet.nodes["n"].elsewhere == elsewhere)

    async def hanging(self, count: int) -> None:
        await self.one.until(lambda: self.node.hanging == count)


@asynccontextmanager
async def pair(database: str, redis_url: str, tmp_path: Path, **config: Any) -> AsyncIterator[Pair]:
    async with ModelServer([Model("m")]) as node:
        whole = {
            "database": {"url": database},
            "redis": {"url": redis_url},
            "auth": {"enabled": True, "keys": KEYS},
            "nodes": [{"id": "n", "url": node.url, "max_concurrency": SLOTS}],
            **config,
        }
        async with two_replicas(whole, tmp_path) as (one, two, client):
            await one.healthy(1)
            await two.healthy(1)
            yield Pair(one, two, node, client)


async def test_a_node_is_shared_out_and_no_replica_starves(
    postgres_url: str, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    async with pair(postgres_url, redis_server.url, tmp_path) as both:
        both.node.mode("hang")
        first = both.ask_all(both.one, SLOTS - 1)
        await both.knows(both.two, SLOTS - 1)
        second = both.ask_all(both.two, SLOTS)
        await both.knows(both.one, SLOTS // 2)
        assert both.node.hanging == SLOTS - 1 + SLOTS // 2, "the other's fair share, although only one slot was left"
        waiting = both.ask_all(both.one, 2)
        await both.one.until(lambda: len(both.one.service.gateway.queue.entries) == 2)
        assert both.node.hanging == SLOTS - 1 + SLOTS // 2, "this replica has more than its share"
        while not all(task.done() for task in (*first, *second, *waiting)):
            both.node.release()
            both.node.mode("ok")
            await asyncio.sleep(0.05)
        assert {await task for task in (*first, *second, *waiting)} == {200}
        await both.knows(both.one, 0)
        await both.knows(both.two, 0)
        both.node.mode("hang")
        alone = both.ask_all(both.two, SLOTS + 1)
        await both.hanging(SLOTS)
        both.node.mode("ok")
        both.node.release()
        assert {await task for task in alone} == {200}


async def test_a_key_has_one_rate_at_all_replicas(
    postgres_url: str, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    async with pair(postgres_url, redis_server.url, tmp_path) as both:
        assert [await both.ask(both.one, LIMITED) for _ in range(RATE)] == [200] * RATE
        service, limit = both.two.service, RateLimit(RATE)
        caller = service.keyring.authenticate({b"x-api-key": LIMITED.encode()}, "127.0.0.1").id
        await both.two.until(
            lambda: service.gateway.limiter.take(caller, limit, service.clock.tick(), cost=0).remaining == 0
        )
        assert await both.ask(both.two, LIMITED) == 429
        assert await both.ask(both.two) == 200


async def test_without_redis_each_replica_counts_for_itself_and_with_it_again_together(
    postgres_url: str, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    async with pair(postgres_url, redis_server.url, tmp_path) as both:
        both.node.mode("hang")
        asked = both.ask_all(both.one, SLOTS)
        await both.knows(both.two, SLOTS)
        redis_server.kill()
        await both.knows(both.two, 0)
        asked += both.ask_all(both.two, SLOTS)
        await both.hanging(2 * SLOTS)
        redis_server.start()
        await both.knows(both.one, SLOTS)
        await both.knows(both.two, SLOTS)
        both.node.mode("ok")
        both.node.release()
        assert {await task for task in asked} == {200}


async def test_who_is_silent_has_nothing_under_way(
    postgres_url: str, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    async with pair(postgres_url, redis_server.url, tmp_path) as both:
        instance = both.one.service.storage.instance_id
        ghost = RedisCounters(redis_server.url, instance, "ghost")
        place = f"{socket.gethostname()}:{both.node.port}"
        said = SharedCounters({}, {place: 3, "another": 1})
        speaking = asyncio.create_task(ghost.run(lambda: said, lambda *_: None))
        await both.knows(both.one, 3)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        await both.knows(both.one, 0)


async def test_what_is_not_a_message_of_this_release_is_left_aside(redis_server: redis.RedisServer) -> None:
    heard: asyncio.Queue[tuple[str, SharedCounters]] = asyncio.Queue()
    counters = SharedCounters({"k": 1.5}, {"n": 2})
    listening = asyncio.create_task(
        RedisCounters(redis_server.url, "i", "me").run(lambda: counters, lambda *told: heard.put_nowait(told))
    )
    speaking = asyncio.create_task(RedisCounters(redis_server.url, "i", "you").run(lambda: counters, lambda *_: None))
    async with asyncio.timeout(10):
        assert await heard.get() == ("you", counters)
        async with Redis.from_url(redis_server.url) as client:
            for text in ("no json", '{"owner": "x"}', '{"owner":"x","spent":{"k":-1},"in_flight":{}}'):
                assert await client.publish("orchestrator:i:counters", text) >= 1
        for _ in range(3):
            assert await heard.get() == ("you", counters)
    for task in (listening, speaking):
        task.cancel()
    await asyncio.wait((listening, speaking))


async def test_one_that_is_stopped_while_it_connects_stops(redis_server: redis.RedisServer) -> None:
    counters = SharedCounters({}, {"n": 1})
    for _ in range(5):
        some = asyncio.Event()
        listener = RedisCounters(redis_server.url, "i", "me")
        listening = asyncio.create_task(listener.run(lambda: None, lambda *_, some=some: some.set()))  # type: ignore[misc]
        speaker = RedisCounters(redis_server.url, "i", "you")
        speaking = asyncio.create_task(speaker.run(lambda: counters, lambda *_: None))
        async with asyncio.timeout(10):
            await some.wait()  # at this moment the speaker's own subscription is being made
        for task in (listening, speaking):
            task.cancel()
        _, stuck = await asyncio.wait((listening, speaking), timeout=10)
        assert not stuck
