"""What one task costs in the ledger: written, assigned and finished, in batches, on a small and on a large queue.

    python -m benchmarks.ledger --database sqlite|postgres|both --rows 1000000

Every step is a durable transaction of its own. The scheduler's work, HTTP and nodes are not part of it. PostgreSQL is a
private server that is started for it and thrown away. Prints a table and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from benchmarks.environment import UnavailableError
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Ledger, TaskQuery, Verdict
from orchestrator.storage import open_storage

ROOT = Path(__file__).resolve().parent.parent
BATCHES = (1, 10, 100, 500)
FILL = 1_000
REPEATS = 200
OWNER = "bench"
TYPE = TaskClass("noop", Requirements(frozenset({"cpu"})))
INPUT = b'{"prompt": "' + b"x" * 150 + b'"}'


class Bench:
    """One ledger, and the numbers of its tasks."""

    def __init__(self, ledger: Ledger, mixed: bool) -> None:
        self.ledger = ledger
        self.mixed = mixed  # ids in no order
        self.seq = 0

    def new(self) -> Task:
        self.seq += 1
        number = self.seq * 0x9E3779B97F4A7C15 % 2**64 if self.mixed else self.seq
        name = f"task_{number:016x}"
        spec = TaskSpec(name, self.seq, TYPE, float(self.seq), input=INPUT, principal="bench")
        return lifecycle.submitted(spec, OWNER, frozenset(), float(self.seq))

    async def write(self, changes: list[Change]) -> None:
        verdicts = await self.ledger.commit(changes)
        if verdicts.count(Verdict.DONE) != len(changes):
            raise RuntimeError("the ledger refused a change")

    async def fill(self, rows: int) -> float:
        """Queues tasks until there are so many; microseconds for each."""
        begun, first = time.perf_counter(), self.seq
        while self.seq < rows:
            await self.write([Change(self.new()) for _ in range(min(FILL, rows - self.seq))])
        return (time.perf_counter() - begun) / max(self.seq - first, 1) * 1e6

    async def lives(self, batch: int, tasks: int) -> tuple[float, float]:
        """Whole lives, step by step: microseconds a task, and the median of one transaction in ms."""
        commits: list[float] = []
        for _ in range(tasks // batch):
            new = [self.new() for _ in range(batch)]
            assigned = [lifecycle.assign(task, "node", 1.0) for task in new]
            ended = [lifecycle.succeed(task, 2.0, b'{"ok": true}') for task in assigned]
            for step in (
                [Change(task) for task in new],
                [Change(task, old.version, old.state) for old, task in zip(new, assigned, strict=True)],
                [Change(task, old.version, old.state) for old, task in zip(assigned, ended, strict=True)],
            ):
                begun = time.perf_counter()
                await self.write(step)
                commits.append(time.perf_counter() - begun)
        return sum(commits) / (tasks // batch * batch) * 1e6, median(commits) * 1e3

    async def reads(self) -> dict[str, tuple[float, float]]:
        """p50 and p99 in milliseconds of what looks at the ledger."""
        ledger = self.ledger
        middle = self.seq // 2
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "page of 50": lambda: ledger.page(TaskQuery()),
            "page of 50 in the middle": lambda: ledger.page(TaskQuery(before=middle)),
            "page of 50 queued": lambda: ledger.page(TaskQuery(frozenset({TaskState.QUEUED}))),
            "page of 50 finished": lambda: ledger.page(TaskQuery(FINISHED)),
            "page of 50 running": lambda: ledger.page(TaskQuery(frozenset({TaskState.RUNNING}))),
            "counts": ledger.counts,
            "take-over of nothing": lambda: ledger.take_over(OWNER, seconds=60.0),
            "stealing of nothing": lambda: ledger.steal(OWNER, (), 50),
        }
        found: dict[str, tuple[float, float]] = {}
        for name, ask in asked.items():
            taken: list[float] = []
            for _ in range(REPEATS):
                begun = time.perf_counter()
                await ask()
                taken.append((time.perf_counter() - begun) * 1e3)
            found[name] = (median(taken), quantiles(taken, n=100)[-1])
        return found

    async def taken_over(self, tasks: int) -> float:
        """Seconds until another owner has so many tasks."""
        begun, got = time.perf_counter(), 0
        while got < tasks and (given := await self.ledger.take_over("next", seconds=60.0, alone=True)):
            got += len(given)
        return time.perf_counter() - begun


async def measure(url: str, rows: int, tasks: int, mixed: bool, console: Console, name: str) -> None:
    async with open_storage(url) as storage:
        bench = Bench(storage.ledger, mixed)
        await bench.ledger.take_over(OWNER, seconds=1e6)
        table = Table("", "us a task", "ms a commit", title=f"{name}: insert, assign, finish")
        per_task: dict[int, float] = {}
        for queued in (FILL, rows):
            filled = await bench.fill(queued)
            table.add_row(f"fill to {queued:,}", f"{filled:.1f}", "")
            for batch in BATCHES if queued == FILL else (100,):
                each, commit = await bench.lives(batch, min(tasks, batch * 300))
                table.add_row(f"batches of {batch}, {queued:,} queued", f"{each:.1f}", f"{commit:.2f}")
                if batch == 100:
                    per_task[queued] = each
        table.add_row(f"{rows:,} queued over {FILL:,}", f"{per_task[rows] / per_task[FILL]:.2f} x", "")
        console.print(table)
        looks = Table("", "p50 ms", "p99 ms", title=f"{name}: reads, {rows:,} queued")
        for what, (middle, worst) in (await bench.reads()).items():
            looks.add_row(what, f"{middle:.2f}", f"{worst:.2f}")
        console.print(looks)
        count = min(rows, 100_000)
        console.print(f"{name}: {count:,} of {rows:,} tasks taken over in {await bench.taken_over(count):.2f} s")


@contextmanager
def databases(which: str) -> Iterator[dict[str, str]]:
    """URLs of empty databases by name."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        urls = {"SQLite": f"sqlite:///{folder}/ledger.db"} if which != "postgres" else {}
        if which == "sqlite":
            yield urls
            return
        sys.path.insert(0, str(ROOT / "tests"))
        try:
            from servers import postgres  # type: ignore[import-not-found,unused-ignore]  # the tests' server
        finally:
            sys.path.pop(0)
        server = postgres.start(Path(folder), os.getpid())
        try:
            yield urls | {"PostgreSQL": server.create("ledger")}
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__.partition("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--rows", type=int, default=1_000_000, help="tasks in the large queue")
    parser.add_argument("--tasks", type=int, default=20_000, help="lives measured for each batch size, at most")
    parser.add_argument("--mixed-ids", action="store_true", help="ids in no order, as random ones are")
    arguments = parser.parse_args()
    console = Console()
    try:
        with databases(arguments.database) as urls:
            for name, url in urls.items():
                asyncio.run(measure(url, arguments.rows, arguments.tasks, arguments.mixed_ids, console, name))
    except UnavailableError as error:
        console.print(str(error))
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
