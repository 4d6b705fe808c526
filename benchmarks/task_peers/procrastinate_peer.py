"""procrastinate: one worker with 20 tasks at a time on PostgreSQL, submitted 500 with one statement."""

from __future__ import annotations

import asyncio
import sys

import procrastinate
import psycopg
import stopwatch

AT_ONCE = 500
ASKED = stopwatch.arguments()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=ASKED.url))


@app.task(queue="bench")
async def noop(data: dict[str, str]) -> dict[str, bool]:
    return {"ok": True}


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(queues=["bench"], concurrency=20, install_signal_handlers=False)


async def submit(tasks: int) -> None:
    async with app.open_async():
        jobs = [{"data": {"prompt": "x" * 150}}] * tasks
        for first in range(0, tasks, AT_ONCE):
            await noop.batch_defer_async(*jobs[first : first + AT_ONCE])


async def make_schema() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


def main() -> None:
    if ASKED.work:
        asyncio.run(work())
        return
    asyncio.run(make_schema())
    with psycopg.connect(ASKED.url, autocommit=True) as connection:

        def finished() -> int:
            row = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
            return int(row[0]) if row else 0

        with stopwatch.workers([[sys.executable, __file__, "--url", ASKED.url, "--work"]]):
            asyncio.run(submit(20))
            stopwatch.until(finished, 20)
            stopwatch.measure("procrastinate", ASKED.tasks, lambda: asyncio.run(submit(ASKED.tasks)), finished)


if __name__ == "__main__":
    main()
