"""The durable history at a size: bytes for each request, and how long every analytics route takes.

    python -m benchmarks.history --requests 1000000 --database sqlite|postgres|both

Fills a database of its own with the last day of a fleet's traffic and the hours of a month, asks the store what
analytics asks, asks every analytics route of the real service over HTTP, prunes while it goes on appending, and lets
the service clean up under traffic. PostgreSQL is a private server that is started for it and thrown away. Exits with 1
when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import analytics, history_cleanup
from benchmarks.environment import BUILD, RESULTS, UnavailableError
from benchmarks.history_traffic import MODELS, NODES, Traffic, summed
from orchestrator.ports.history import (
    DAY,
    EVERY,
    HOUR,
    MINUTE,
    HistoryBatch,
    HistoryStore,
    RequestFilter,
    Retention,
    Rollup,
)
from orchestrator.services.history.sums import PAIRS
from orchestrator.settings.storage import History
from orchestrator.storage import open_storage

BATCH = 1000
BYTES_GOAL, SIZE_GOAL, MS_GOAL, BLOCKED_GOAL = 400.0, 400e6, 200.0, 500.0
REPEATS = 20


@dataclass
class Timings:
    """Seconds by what was timed, and how many rows came back."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    async def time(self, name: str, call: Callable[[], Awaitable[Sequence[object] | int]]) -> int:
        began = time.perf_counter()
        found = await call()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        self.rows[name] = found if isinstance(found, int) else len(found)
        return self.rows[name]

    def p95(self, name: str) -> float:
        """In ms."""
        return analytics.p95(self.seconds[name]) * 1000

    def told(self, name: str) -> list[float]:
        """Median, p95 and maximum in ms."""
        ordered = sorted(self.seconds[name])
        return [round(value, 2) for value in (ordered[len(ordered) // 2] * 1000, self.p95(name), ordered[-1] * 1000)]


Question = Callable[[HistoryStore], Awaitable[Sequence[object]]]


def _questions(middle: str, now: int) -> dict[str, Question]:
    wanted = {
        "page: newest": RequestFilter(),
        "page: one node": RequestFilter(node=NODES[2]),
        "page: rarest node and model": RequestFilter(node=NODES[9], model=MODELS[5]),
        "page: rare principal, endpoint, node": RequestFilter(
            principal="team-30", endpoint="ollama.chat", node=NODES[9]
        ),
        "page: pair that never was": RequestFilter(principal="team-39", node="", model=MODELS[4]),
        "page: an hour of one model": RequestFilter(since=now - 12 * HOUR, until=now - 11 * HOUR, model=MODELS[3]),
        "page: failed": RequestFilter(success=False),
        "page: error code": RequestFilter(error="queue_full"),
        "page: error code, rare node": RequestFilter(error="queue_full", node=NODES[9], principal="team-30"),
        "page: retried": RequestFilter(retried=True),
        "page: cancelled": RequestFilter(outcome="cancelled"),
        "page: succeeded, not retried, one node": RequestFilter(success=True, retried=False, node=NODES[1]),
        "page: request id": RequestFilter(request_id=middle),
    }
    found: dict[str, Question] = {name: partial(_page, filtered) for name, filtered in wanted.items()}
    found["page: offset 5,000"] = lambda store: store.requests(RequestFilter(node=NODES[0]), 50, 5000)
    found["decisions: one node"] = lambda store: store.decisions(since=now - DAY, until=now, limit=50, node=NODES[3])
    for name, span, step, by, brief in (
        ("1 h by minute", HOUR, MINUTE, (), True),
        ("6 h by 5 minutes", 6 * HOUR, 300, (), True),
        ("24 h by minute", DAY, MINUTE, (), True),
        ("10 h by hour, in full", 10 * HOUR, HOUR, EVERY, False),
        ("24 h by pair", DAY, 0, PAIRS, False),
        ("30 d by hour", 30 * DAY, HOUR, (), True),
        ("10 d by day, in full", 10 * DAY, DAY, EVERY, False),
    ):
        found[f"rollups: {name}"] = partial(_rollups, now - span, now, step, by, brief)
    return found


async def _fill(store: HistoryStore, traffic: Traffic, requests: int, timings: Timings) -> str:
    middle = ""
    while traffic.made < requests:
        batch = traffic.batch(min(BATCH, requests - traffic.made))
        await timings.time(f"append {BATCH:,} requests", partial(_append, store, batch))
        if traffic.made >= requests // 2 and not middle:
            middle = batch.requests[0].id
    return middle


async def _page(filtered: RequestFilter, store: HistoryStore) -> Sequence[object]:
    return await store.requests(filtered, 50)


async def _append(store: HistoryStore, batch: HistoryBatch) -> int:
    await store.append(batch)
    return len(batch.requests)


async def _rollups(
    since: int, until: int, step: int, by: Sequence[str], brief: bool, store: HistoryStore
) -> Sequence[object]:
    return await store.rollups(since=since, until=until, step=step, by=by, brief=brief)


async def _fill_hours(store: HistoryStore, start: int, days: int) -> None:
    """The sums of the days before: as many series as the day has, in every hour. Their minutes are gone."""
    await store.prune(Retention(40 * DAY, 10**9, 40 * DAY, 10**9, 2 * DAY, 90 * DAY), float(start + 2 * DAY), 1)
    found = summed(Traffic(2000, 0, start).batch(2000).requests)
    series = {(rollup.node, rollup.model, rollup.endpoint): rollup for rollup in found}.values()
    midnight = start // DAY * DAY
    for day in range(1, days):
        hours = (midnight - day * DAY + hour * HOUR for hour in range(24))
        await store.append(HistoryBatch(rollups=[_moved(rollup, hour) for hour in hours for rollup in series]))


def _moved(rollup: Rollup, start: int) -> Rollup:
    return Rollup(
        start,
        rollup.node,
        rollup.model,
        rollup.endpoint,
        rollup.requests,
        rollup.answered,
        durations=rollup.durations,
        ttfts=rollup.ttfts,
    )


async def _prune_beside(store: HistoryStore, traffic: Traffic, requests: int, timings: Timings) -> None:
    """A tenth of the requests goes, in steps of a thousand rows, while batches keep coming."""
    kept = Retention(40 * DAY, requests * 9 // 10, 40 * DAY, 10**9, 2 * DAY, 90 * DAY)
    done = asyncio.Event()

    async def appends() -> None:
        while not done.is_set():
            batch = traffic.batch(100)
            await timings.time("append 100 requests while pruning", partial(_append, store, batch))
            await asyncio.sleep(0.02)

    appending = asyncio.create_task(appends())
    try:
        deleted = 1
        while deleted:
            deleted = await timings.time(
                "prune 1,000 rows", lambda: store.prune(kept, float(traffic.start + DAY), 1000)
            )
    finally:
        done.set()
        await appending


async def _store(url: str, requests: int, decisions: int, console: Console) -> dict[str, Any]:
    """Fills, and asks the store; what was found, with a request's id and a time from the middle."""
    timings, traffic = Timings(), Traffic(requests, decisions, int(time.time()) // MINUTE * MINUTE - DAY)
    async with open_storage(url) as storage:
        store = storage.history
        before = (await store.size()).bytes
        middle = await _fill(store, traffic, requests, timings)
        full = await store.size()
        console.print(f"filled: {(full.bytes - before) / requests:.0f} bytes a request", style="dim")
        await _fill_hours(store, traffic.start, 30)
        size = await store.size()
        questions = _questions(middle, traffic.start + DAY)
        gc.collect()
        gc.freeze()  # as the service does when it has started: what filled the table is not searched through
        for name, question in questions.items():
            for _ in range(REPEATS):
                await timings.time(name, partial(question, store))
        for _ in range(REPEATS):
            await timings.time("size", lambda: _size(store))
    _print(console, timings)
    return {
        "bytes_per_request": round((full.bytes - before) / requests),
        "size": asdict(size),
        "slow": [name for name in questions if timings.p95(name) >= MS_GOAL],
        "middle": (middle, float(traffic.start + DAY // 2)),
        "store_ms": {name: timings.told(name) for name in timings.seconds},
    }


async def _pruning(url: str, requests: int, console: Console) -> dict[str, list[float]]:
    timings = Timings()
    traffic = Traffic(requests, 0, int(time.time()) - DAY)
    traffic.made = requests  # from now on
    async with open_storage(url) as storage:
        await _prune_beside(storage.history, traffic, requests, timings)
    _print(console, timings)
    return {name: timings.told(name) for name in timings.seconds}


async def _size(store: HistoryStore) -> int:
    return (await store.size()).rollups


def _print(console: Console, timings: Timings) -> None:
    table = Table("what", "rows", "median ms", "p95 ms", "max ms")
    for name in timings.seconds:
        table.add_row(name, f"{timings.rows[name]:,}", *(f"{value:.1f}" for value in timings.told(name)))
    console.print(table)


def _print_routes(console: Console, answers: Sequence[analytics.Answer]) -> None:
    """Of each route the question that took longest."""
    table = Table("route", "slowest question", "median ms", "p95 ms", "first ms", "KB")
    worst: dict[str, analytics.Answer] = {}
    for one in answers:
        if one.route not in worst or one.p95 > worst[one.route].p95:
            worst[one.route] = one
    for route, one in worst.items():
        figures = (f"{one.median:.1f}", f"{one.p95:.1f}", f"{one.first:.1f}", f"{one.bytes / 1000:,.0f}")
        table.add_row(route, one.query.removeprefix("/analytics/"), *figures)
    console.print(table)


def _measure(url: str, requests: int, decisions: int, console: Console) -> dict[str, Any]:
    """Everything on one database, and which goals were missed."""
    found = asyncio.run(_store(url, requests, decisions, console))
    answers = analytics.measure(url, *found.pop("middle"))
    found["load_average"] = os.getloadavg()[1]  # of the minutes in which the routes were asked
    _print_routes(console, answers)
    found["routes_ms"] = [asdict(one) for one in answers]
    found["pruning_ms"] = pruned = asyncio.run(_pruning(url, requests, console))
    found["cleanup"] = cleaned = history_cleanup.measure(url, requests * 8 // 10)
    console.print(f"clean-up of the service under traffic: {cleaned}")
    blocked = max(pruned[name][2] for name in pruned if name.startswith("append"))
    found["missed"] = [
        *(f"the store, {name}" for name in found.pop("slow")),
        *(f"{one.query}: {one.p95:.0f} ms" for one in answers if one.p95 >= MS_GOAL),
        *([f"{found['bytes_per_request']} bytes a request"] if found["bytes_per_request"] >= BYTES_GOAL else []),
        *([f"{found['size']['bytes'] / 1e6:.0f} MB"] if found["size"]["bytes"] >= SIZE_GOAL else []),
        *([f"an append waited {blocked:.0f} ms for pruning"] if blocked >= BLOCKED_GOAL else []),
        *history_cleanup.missed(cleaned, MS_GOAL),
    ]
    slowest = max(answers, key=lambda one: one.p95)
    megabytes = found["size"]["bytes"] / 1e6
    console.print(f"{found['bytes_per_request']} bytes a request; {megabytes:.0f} MB with a month of sums")
    console.print(f"slowest of {len(answers)} questions: {slowest.query} {slowest.p95:.0f} ms at p95")
    console.print(f"an append waited {blocked:.0f} ms at most; missed: {'; '.join(found['missed']) or 'nothing'}")
    return found


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'history.db'}"
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from servers import postgres

    server = postgres.start(folder, os.getpid())
    try:
        yield server.create("history")
    finally:
        server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=(__doc__ or "").splitlines()[0])
    most = History().most_decisions
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--decisions", type=int, default=most, help=f"how many of them have one (default: {most:,})")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of history-DATABASE.json")
    options, console = parser.parse_args(arguments), Console(width=140)
    BUILD.mkdir(parents=True, exist_ok=True)
    missed = False
    for kind in ("sqlite", "postgres") if options.database == "both" else (options.database,):
        folder = Path(tempfile.mkdtemp(dir=BUILD))
        console.rule(kind)
        try:
            with _database(kind, folder) as url:
                found = _measure(url, options.requests, options.decisions, console)
        except UnavailableError as error:
            console.print(f"cannot run: {error}", style="red")
            return 2
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"history-{kind}.json").write_text(json.dumps({"database": kind, **found}, indent=1) + "\n")
        missed = missed or bool(found["missed"])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
