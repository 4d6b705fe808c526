"""The durable history at a size: bytes for each request, and how long each kind of question takes.

    python -m benchmarks.history --requests 1000000 --database sqlite|postgres

Fills a database of its own with a day of a fleet's traffic, asks what analytics asks, then prunes while it goes on
appending. PostgreSQL is a private server that is started for it and thrown away. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environment import BUILD, UnavailableError
from orchestrator.domain.histogram import DURATION_BOUNDS
from orchestrator.ports.history import (
    BUCKETS,
    DAY,
    HOUR,
    MINUTE,
    Candidate,
    Decision,
    HistoryBatch,
    HistoryStore,
    RequestFilter,
    Retention,
    Rollup,
)
from orchestrator.ports.record import Attempt, RequestRecord
from orchestrator.storage import open_storage

START = 1_763_596_800  # a midnight
NODES = [f"node-{n}.fleet" for n in range(10)]
MODELS = ["llama3.1:8b", "llama3.1:70b", "qwen2.5:32b", "nomic-embed-text", "gemma2:9b", "mistral:7b"]
ENDPOINTS = ["openai.chat", "openai.embeddings", "ollama.chat"]
PRINCIPALS = [f"team-{n}" for n in range(40)]
ERRORS = ["upstream_timeout", "connection_refused", "queue_full", "upstream_error"]
BATCH = 1000
BYTES_GOAL, MS_GOAL = 400.0, 200.0
REPEATS = 20


class Traffic:
    """A day of requests: most of them well, 4 % in trouble, on nodes and models of unequal popularity."""

    def __init__(self, requests: int, decisions: int) -> None:
        self._random = random.Random(7)
        self._gap = DAY / requests
        self._decision_every = max(1, requests // decisions) if decisions else 0
        self.made = 0

    def batch(self, size: int) -> HistoryBatch:
        records = [self._record() for _ in range(size)]
        decisions = [
            _decision(record)
            for number, record in enumerate(records, self.made - size)
            if self._decision_every and number % self._decision_every == 0
        ]
        return HistoryBatch(records, decisions, _summed(records))

    def _record(self) -> RequestRecord:
        draw = self._random
        at = START + self.made * self._gap
        self.made += 1
        node = NODES[min(int(draw.expovariate(0.4)), 9)]
        model = MODELS[min(int(draw.expovariate(0.7)), 5)]
        failed, retried = draw.random() < 0.02, draw.random() < 0.02
        duration = draw.lognormvariate(0.5, 1.2)
        error = draw.choice(ERRORS) if failed else ""
        attempts = [Attempt(node, model, "openai", at, 1, 200, "", "", at + duration)]
        if failed or retried:
            attempts[0] = Attempt(node, model, "openai", at, 1, 502, "connection refused", "connect", at + duration)
        if retried:
            attempts.append(Attempt(NODES[0], model, "openai", at, 2, 200, "", "", at + duration))
        return RequestRecord(
            id=f"{draw.getrandbits(128):032x}",
            at=at,
            endpoint=draw.choices(ENDPOINTS, (90, 9, 1))[0],
            principal=PRINCIPALS[min(int(draw.expovariate(0.2)), 39)],
            model=model,
            node=node,
            status=502 if failed else 200,
            stream=draw.random() < 0.7,
            duration=duration,
            queue_wait=draw.random() / 10 if draw.random() < 0.2 else 0.0,
            ttft=duration / 4,
            prompt_tokens=draw.randrange(20, 4000),
            completion_tokens=draw.randrange(5, 900),
            estimated=False,
            attempts=tuple(attempts),
            error=error,
            outcome="error" if failed else "cancelled" if draw.random() < 0.005 else "ok",
        )


def _decision(record: RequestRecord) -> Decision:
    candidates = [
        Candidate(node, round(0.9 - 0.07 * n, 4), {"load": 0.123 * n, "latency": 0.25, "errors": 0.0})
        for n, node in enumerate(NODES[:6])
    ]
    candidates += [Candidate(node, None, {}, "model not loaded") for node in NODES[6:]]
    return Decision(
        record.at, record.id, record.model, record.node, "balanced", "lowest expected wait", tuple(candidates)
    )


def _summed(records: Sequence[RequestRecord]) -> list[Rollup]:
    groups: dict[tuple[int, str, str, str], list[RequestRecord]] = {}
    for record in records:
        key = int(record.at) // MINUTE * MINUTE, record.node, record.model, record.endpoint
        groups.setdefault(key, []).append(record)
    return [_rollup(key, group) for key, group in groups.items()]


def _rollup(key: tuple[int, str, str, str], records: Sequence[RequestRecord]) -> Rollup:
    durations, ttfts, failures = [0] * BUCKETS, [0] * BUCKETS, dict[str, int]()
    for record in records:
        durations[bisect_left(DURATION_BOUNDS, record.duration)] += 1
        ttfts[bisect_left(DURATION_BOUNDS, record.ttft or 0.0)] += 1
        if record.error:
            failures[record.error] = failures.get(record.error, 0) + 1
    return Rollup(
        *key,
        requests=len(records),
        answered=sum(record.outcome == "ok" for record in records),
        errors=sum(record.outcome == "error" for record in records),
        cancelled=sum(record.outcome == "cancelled" for record in records),
        streams=sum(record.stream for record in records),
        chunks=sum(record.completion_tokens for record in records if record.stream),
        prompt_tokens=sum(record.prompt_tokens for record in records),
        completion_tokens=sum(record.completion_tokens for record in records),
        duration_sum=sum(record.duration for record in records),
        ttft_sum=sum(record.ttft or 0.0 for record in records),
        queue_wait_sum=sum(record.queue_wait for record in records),
        durations=tuple(durations),
        ttfts=tuple(ttfts),
        failures=failures,
    )


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
        ordered = sorted(self.seconds[name])
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000


Question = Callable[[HistoryStore], Awaitable[Sequence[object]]]


def _questions(middle: str) -> dict[str, Question]:
    now = START + DAY
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
    found["decisions: one node"] = lambda store: store.decisions(since=START, until=now, limit=50, node=NODES[3])
    found["rollups: 1 h by minute"] = lambda store: store.rollups(since=now - HOUR, until=now, step=MINUTE)
    found["rollups: 24 h by hour"] = lambda store: store.rollups(since=now - DAY, until=now, step=HOUR)
    found["rollups: 24 h in one"] = lambda store: store.rollups(since=now - DAY, until=now, step=0)
    found["rollups: 24 h by 5 minutes, one model"] = lambda store: store.rollups(
        since=now - DAY, until=now, step=300, model=MODELS[0]
    )
    found["rollups: 30 d by day"] = lambda store: store.rollups(since=now - 30 * DAY, until=now, step=DAY)
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


async def _fill_hours(store: HistoryStore, days: int) -> None:
    """The sums of the days before: as many series as the day has, in every hour."""
    found = _summed(Traffic(2000, 0).batch(2000).requests)
    series = {(rollup.node, rollup.model, rollup.endpoint): rollup for rollup in found}.values()
    for day in range(1, days):
        hours = (START - day * DAY + hour * HOUR for hour in range(24))
        await store.append(HistoryBatch(rollups=[_moved(rollup, start) for start in hours for rollup in series]))
    await store.prune(Retention(10 * DAY, 10**9, 10 * DAY, 10**9, 2 * DAY, 90 * DAY), float(START + DAY), 1)


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
    kept = Retention(10 * DAY, requests * 9 // 10, 10 * DAY, 10**9, 2 * DAY, 90 * DAY)
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
            deleted = await timings.time("prune 1,000 rows", lambda: store.prune(kept, float(START + DAY), 1000))
    finally:
        done.set()
        await appending


async def _measure(url: str, requests: int, decisions: int, console: Console) -> bool:
    timings, traffic = Timings(), Traffic(requests, decisions)
    async with open_storage(url) as storage:
        store = storage.history
        before = (await store.size()).bytes
        middle = await _fill(store, traffic, requests, timings)
        full = await store.size()
        console.print(f"filled: {(full.bytes - before) / requests:.0f} bytes a request", style="dim")
        await _fill_hours(store, 30)
        questions = _questions(middle)
        for name, question in questions.items():
            for _ in range(REPEATS):
                await timings.time(name, partial(question, store))
        for _ in range(REPEATS):
            await timings.time("size", lambda: _size(store))
        await _prune_beside(store, traffic, requests, timings)
        after = await store.size()
    each = (full.bytes - before) / requests
    _print(console, timings)
    console.print(
        f"{each:.0f} bytes a request in all ({full.requests:,} requests, {full.decisions:,} decisions, "
        f"{full.rollups:,} sums: {full.bytes / 1e6:.0f} MB); after pruning {after.bytes / 1e6:.0f} MB"
    )
    slow = [name for name in questions if timings.p95(name) >= MS_GOAL]
    console.print(f"goals: {each:.0f} < {BYTES_GOAL:.0f} bytes; over {MS_GOAL:.0f} ms: {', '.join(slow) or 'none'}")
    return each < BYTES_GOAL and not slow


async def _size(store: HistoryStore) -> int:
    return (await store.size()).rollups


def _print(console: Console, timings: Timings) -> None:
    table = Table("what", "rows", "median ms", "p95 ms", "max ms")
    for name, seconds in timings.seconds.items():
        median = sorted(seconds)[len(seconds) // 2] * 1000
        table.add_row(
            name, f"{timings.rows[name]:,}", f"{median:.1f}", f"{timings.p95(name):.1f}", f"{max(seconds) * 1000:.1f}"
        )
    console.print(table)


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
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--decisions", type=int, default=100_000, help="how many of them have one (default: 100,000)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    options, console = parser.parse_args(arguments), Console(width=120)
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=BUILD))
    try:
        with _database(options.database, folder) as url:
            return 0 if asyncio.run(_measure(url, options.requests, options.decisions, console)) else 1
    except UnavailableError as error:
        console.print(f"cannot run: {error}", style="red")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
