"""pgqueuer: two workers that take 100 at a time from PostgreSQL, submitted 500 at a time. It keeps no results."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta

import asyncpg
import psycopg
import stopwatch
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

AT_ONCE, TAKEN = 500, 100
ASKED = stopwatch.arguments()


async def work() -> None:
    connection = await asyncpg.connect(ASKED.url)
    queuer = PgQueuer(AsyncpgDriver(connection))

    @queuer.entrypoint("noop")
    async def noop(job: object) -> None:
        return

    await queuer.run(dequeue_timeout=timedelta(seconds=1), batch_size=TAKEN)


async def submit(tasks: int) -> None:
    connection = await asyncpg.connect(ASKED.url)
    queries = Queries(AsyncpgDriver(connection))
    payload = json.dumps({"prompt": "x" * 150}).encode()
    for first in range(0, tasks, AT_ONCE):
        size = min(AT_ONCE, tasks - first)
        await queries.enqueue(["noop"] * size, [payload] * size, [0] * size)
    await connection.close()


async def make_schema() -> None:
    connection = await asyncpg.connect(ASKED.url)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


def main() -> None:
    if ASKED.work:
        asyncio.run(work())
        return
    asyncio.run(make_schema())
    with psycopg.connect(ASKED.url, autocommit=True) as connection:
        submitted = 0

        def finished() -> int:
            """Those that finished leave the table."""
            row = connection.execute("SELECT count(*) FROM pgqueuer").fetchone()
            return submitted - (int(row[0]) if row else 0)

        def submit_all() -> None:
            nonlocal submitted
            asyncio.run(submit(ASKED.tasks))
            submitted += ASKED.tasks

        with stopwatch.workers([[sys.executable, __file__, "--url", ASKED.url, "--work"]] * 2):
            asyncio.run(submit(200))
            submitted = 200
            stopwatch.until(finished, 200)
            stopwatch.measure("pgqueuer", ASKED.tasks, submit_all, finished)


if __name__ == "__main__":
    main()
