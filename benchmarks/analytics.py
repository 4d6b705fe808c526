"""Every analytics route of the real service over HTTP, on a database that `benchmarks.history` has filled.

Each question is asked once to warm up and then several times, one after the other; a time is from the request to the
last byte of the answer. Of exports it is the first byte: they are files.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import yaml

from benchmarks.environment import UnavailableError
from benchmarks.history_traffic import MODELS, NODES
from benchmarks.process import Process
from orchestrator.entrypoints.http.admin import analytics, analytics_decisions, analytics_requests
from orchestrator.entrypoints.http.admin.route import PREFIX

READY = 30.0  # seconds that a start may take
REPEATS = 30
RANGES = ("1h", "6h", "24h", "7d", "30d")
EXPORT = "/analytics/export"
CONFIG = {
    "discovery": {"enabled": False},
    "demo": {"enabled": False},
    "auth": {"enabled": False},
    "logging": {"requests": False, "level": "error"},
    "security": {"rate_limit_max": None},
}


@dataclass(frozen=True)
class Answer:
    """How long one question took: milliseconds, and the bytes of its answer. `first` is before anything was warm; the
    `fastest` is nearest to what a machine without other work takes."""

    route: str
    query: str
    first: float
    fastest: float
    median: float
    p95: float
    worst: float
    bytes: int


def questions(request_id: str, middle: float) -> Iterator[tuple[str, str]]:
    """Each route as it is declared, and what is asked of it. `middle` is a time within the traffic."""
    node, rare, model = NODES[0], NODES[9], MODELS[0]
    for name in ("summary", "top-models", "server-performance", "errors"):
        yield from ((f"/analytics/{name}", f"/analytics/{name}?timeRange={span}") for span in RANGES)
    yield "/analytics/capacity", "/analytics/capacity"
    for metric in ("latency", "errors", "throughput"):
        for span in RANGES:
            yield "/analytics/trends/{metric}", f"/analytics/trends/{metric}?timeRange={span}"
    for which in (f"model={model}", f"serverId={node}", f"model={MODELS[5]}&serverId={rare}"):
        for span in RANGES:
            yield "/analytics/trends/{metric}", f"/analytics/trends/latency?timeRange={span}&{which}"
    for hours in (24, 168, 720):
        yield "/analytics/summary-snapshots", f"/analytics/summary-snapshots?hours={hours}"
    yield "/analytics/servers-with-history", "/analytics/servers-with-history"
    for span, kind in (("24h", "hourly"), ("7d", "hourly"), ("30d", "hourly"), ("30d", "daily")):
        route = f"/analytics/rollups/{kind}"
        yield route, f"{route}?timeRange={span}"
        yield route, f"{route}?timeRange={span}&offset=10000"
        yield route, f"{route}?timeRange={span}&model={model}"
    for kind, form in (("requests", "csv"), ("requests", "json"), ("rollups", "csv"), ("rollups", "json")):
        yield EXPORT, f"{EXPORT}?kind={kind}&format={form}&timeRange=30d"
    yield from _searches(request_id, middle)
    for hours in (1, 24, 168):
        yield "/analytics/request-stats/{server_id}", f"/analytics/request-stats/{node}?hours={hours}"
    for hours, interval in ((1, 1), (6, 1), (24, 5), (24, 1), (24, 60), (48, 5), (168, 60), (720, 60)):
        for which in ("", f"&serverId={node}"):
            yield "/analytics/request-timeline", f"/analytics/request-timeline?hours={hours}&interval={interval}{which}"
    yield from _decisions(node, model)


def _searches(request_id: str, middle: float) -> Iterator[tuple[str, str]]:
    hour = f"startTime={middle * 1000:.0f}&endTime={(middle + 3600) * 1000:.0f}"
    for name in ("search", "browse"):
        for which in (
            "limit=100",
            "limit=1000",
            "offset=10000",
            "offset=100000",
            f"offset=100000&serverId={NODES[0]}",
            f"serverId={NODES[9]}&model={MODELS[5]}",
            f"principal=team-30&endpoint=ollama.chat&serverId={NODES[9]}",
            f"principal=team-39&model={MODELS[4]}&serverId=nowhere",
            "success=false",
            "success=false&offset=10000",
            "success=true&isRetry=false&offset=10000",
            "isRetry=true",
            "errorType=queue_full&principal=team-30",
            "outcome=cancelled",
            f"id={request_id}",
            f"{hour}&model={MODELS[3]}",
            f"{hour}&offset=10000",
        ):
            yield f"/analytics/requests/{name}", f"/analytics/requests/{name}?{which}"
    for node in (NODES[0], NODES[9]):
        for which in ("limit=100", "limit=1000", "offset=10000", f"model={MODELS[5]}"):
            yield "/analytics/requests/{server_id}", f"/analytics/requests/{node}?{which}"


def _decisions(node: str, model: str) -> Iterator[tuple[str, str]]:
    for which in ("limit=100", "limit=500", f"serverId={node}", f"model={model}&limit=500"):
        yield "/analytics/decisions", f"/analytics/decisions?{which}"
    for hours in (1, 24, 168):
        path = f"/analytics/decisions/trends/{node}/{model}"
        yield "/analytics/decisions/trends/{server_id}/{model:path}", f"{path}?hours={hours}"
        for name in ("selection-stats", "algorithms", "score-timeline", "metrics-impact"):
            yield f"/analytics/{name}", f"/analytics/{name}?hours={hours}"
    yield "/analytics/score-timeline", "/analytics/score-timeline?hours=24&interval=1"


def unasked(asked: Sequence[tuple[str, str]]) -> set[str]:
    """Routes that the service has and nobody asks here."""
    routers = (analytics.router, analytics_decisions.router, analytics_requests.router)
    paths = {str(getattr(route, "path", "")).removeprefix(PREFIX) for router in routers for route in router.routes}
    return paths - {route for route, _ in asked}


@contextmanager
def serving(database: str, folder: Path, config: Mapping[str, object]) -> Iterator[str]:
    """`orchestrator start` on the database; its URL."""
    file = folder / "orchestrator.yaml"
    file.write_text(yaml.safe_dump({**CONFIG, **config, "database": {"url": database}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "orchestrator", "start", "--config", str(file), "--port", str(port)]
    cores = os.sched_getaffinity(0)
    process = Process([*command, "--data-dir", str(folder / "data")], core=max(cores), log=folder / "service.log")
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + READY
    try:
        while time.monotonic() < end and process.running:
            try:
                httpx2.get(f"{url}/health", timeout=5.0)
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        else:
            raise UnavailableError(f"the service did not start: {process.last_words()}")
        yield url
    finally:
        process.stop()


def measure(database: str, request_id: str, middle: float, repeats: int = REPEATS) -> list[Answer]:
    """Every question in its turn, on one connection."""
    asked = list(questions(request_id, middle))
    missing = unasked(asked)
    if missing:
        raise UnavailableError(f"the benchmark asks nothing of {', '.join(sorted(missing))}")
    with tempfile.TemporaryDirectory() as name, serving(database, Path(name), {}) as url:
        return asyncio.run(_ask_all(url, asked, repeats))


async def _ask_all(url: str, asked: Sequence[tuple[str, str]], repeats: int) -> list[Answer]:
    answers = []
    async with httpx2.AsyncClient(base_url=url + PREFIX, timeout=60.0) as client:
        for route, query in asked:
            first, size = await _ask(client, query)
            times = [(await _ask(client, query))[0] for _ in range(repeats)]
            answers.append(
                Answer(route, query, first, min(times), statistics.median(times), p95(times), max(times), size)
            )
    return answers


async def _ask(client: httpx2.AsyncClient, query: str) -> tuple[float, int]:
    """Milliseconds and bytes."""
    began, size = time.perf_counter(), 0
    async with client.stream("GET", query) as response:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if query.startswith(EXPORT):
                break
        took = (time.perf_counter() - began) * 1000
        if response.status_code != 200:
            raise UnavailableError(f"{query}: {response.status_code} {(await response.aread())[:200]!r}")
    return took, size


def p95(times: Sequence[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
