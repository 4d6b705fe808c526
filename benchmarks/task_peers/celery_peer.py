"""Celery: prefork with two processes, late acknowledgement, results in Redis; submitted one by one."""

from __future__ import annotations

import os
import sys

import redis
import stopwatch
from celery import Celery


def results(url: str) -> str:
    """Results have a database of their own, so that they can be counted."""
    return f"{url.rpartition('/')[0]}/1"


URL = os.environ.get("PEER_URL", "")
app = Celery("celery_peer", broker=URL, backend=results(URL))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=16, worker_hijack_root_logger=False)


@app.task
def noop(data: dict[str, str]) -> dict[str, bool]:
    return {"ok": True}


def main() -> None:
    asked = stopwatch.arguments()
    os.environ["PEER_URL"] = asked.url
    app.conf.update(broker_url=asked.url, result_backend=results(asked.url))
    store = redis.Redis.from_url(results(asked.url))
    data = {"prompt": "x" * 150}

    def finished() -> int:
        return int(store.dbsize())

    def submit() -> None:
        for _ in range(asked.tasks):
            noop.delay(data)

    flags = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "error", "--without-gossip", "--without-mingle"]
    with stopwatch.workers([[sys.executable, "-m", "celery", "-A", "celery_peer", "worker", *flags]]):
        for first in [noop.delay(data) for _ in range(20)]:
            first.get(timeout=60)
        stopwatch.measure("celery", asked.tasks, submit, finished)


if __name__ == "__main__":
    main()
