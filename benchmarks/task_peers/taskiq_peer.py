"""taskiq: two worker processes on a Redis stream, results in Redis; 64 submissions at a time."""

from __future__ import annotations

import asyncio
import os
import sys

import redis
import stopwatch
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ.get("PEER_URL") or sys.argv[sys.argv.index("--url") + 1]
CLIENTS = 64
RESULTS = f"{URL.rpartition('/')[0]}/1"  # a database of their own, so that they can be counted
broker = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(RESULTS))


@broker.task(task_name="noop")  # it is another module's in the workers
async def noop(data: dict[str, str]) -> dict[str, bool]:
    return {"ok": True}


async def submit_all(tasks: int) -> None:
    left = iter(range(tasks))

    async def client() -> None:
        for _ in left:
            await noop.kiq({"prompt": "x" * 150})

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def warm() -> None:
    await broker.startup()
    for first in [await noop.kiq({"prompt": ""}) for _ in range(20)]:
        await first.wait_result(timeout=60)


def main() -> None:
    asked = stopwatch.arguments()
    os.environ["PEER_URL"] = asked.url
    store = redis.Redis.from_url(RESULTS)
    command = [sys.executable, "-m", "taskiq", "worker", "taskiq_peer:broker", "--workers", "2", "--log-level", "ERROR"]
    with stopwatch.workers([command]), asyncio.Runner() as runner:
        runner.run(warm())
        stopwatch.measure(
            "taskiq", asked.tasks, lambda: runner.run(submit_all(asked.tasks)), lambda: int(store.dbsize())
        )


if __name__ == "__main__":
    main()
