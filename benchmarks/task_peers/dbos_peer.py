"""DBOS: workflows without a step on one queue, submitted by four threads of the process that runs them, as its guide
has it. Its queue is polled each 10 ms instead of each second. On PostgreSQL, or on SQLite as it ships it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import stopwatch
from dbos import DBOS, DBOSConfig

THREADS = 4
ASKED = stopwatch.arguments()
QUEUE = "bench"


@DBOS.workflow()
def noop(data: dict[str, str]) -> dict[str, bool]:
    return {"ok": True}


def counter() -> Callable[[], int]:
    """How many workflows have succeeded, by a look at the table of its own."""
    if ASKED.url.startswith("sqlite"):
        file = sqlite3.connect(ASKED.url.removeprefix("sqlite:///"), timeout=30)
        query = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
        return lambda: int(file.execute(query).fetchone()[0])
    connection = psycopg.connect(ASKED.url, autocommit=True)
    query = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
    return lambda: int((connection.execute(query).fetchone() or [0])[0])


def submit(tasks: int) -> None:
    data = {"prompt": "x" * 150}
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda _: DBOS.enqueue_workflow(QUEUE, noop, data), range(tasks)):
            pass


def main() -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": ASKED.url,
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=0.01)
    finished = counter()
    submit(20)
    stopwatch.until(finished, 20)
    stopwatch.measure("dbos", ASKED.tasks, lambda: submit(ASKED.tasks), finished)
    DBOS.destroy()


if __name__ == "__main__":
    main()
