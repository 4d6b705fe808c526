"""Tasks sent through the service, from the first submission until the last result is durable, and what that took."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import program
from benchmarks.process import Process
from benchmarks.tasks_service import (
    CAPABILITY,
    KEY,
    KEY_VARIABLE,
    FailedError,
    Quiet,
    TaskService,
    WorkerNodes,
    machine_cpu,
)

BATCH = 100
LONGEST_LOAD = 300  # seconds
LONGEST_DRAIN = 300.0
INPUT = {"prompt": "x" * 150}


@dataclass(frozen=True)
class Flow:
    """`seconds` from the first submission until the last result is durable; CPU in microseconds a task, that of the
    machine includes clients, nodes and databases; `ack_*` in ms for one request. `others` is the share of the cores
    that work of others had: more than a few percent spoil it."""

    tasks: int
    seconds: float
    rate: float
    service_cpu_us: float
    machine_cpu_us: float
    ack_p50_ms: float
    ack_p99_ms: float
    others: float

    @property
    def cost_us(self) -> float:
        """Microseconds of wall clock for each task."""
        return 1e6 / self.rate


@dataclass(frozen=True)
class Shape:
    """How tasks are submitted: `requests` of `batch` tasks over `clients` connections. `classes` more than one: each
    task asks for one of so many capabilities, in turn."""

    tasks: int
    batch: int = 1
    clients: int = 128
    classes: int = 1


def body(capability: str = CAPABILITY, **more: object) -> dict[str, object]:
    return {"task_type": "noop", "requirements": {"capabilities": [capability]}, "input_data": INPUT, **more}


def load(name: str, folder: Path, *options: object) -> dict[str, Any]:
    """Runs a load generator to its end; what it printed."""
    log = folder / f"{name}.json"
    process = Process([str(program(name)), *map(str, options)], log=log)
    try:
        end = time.monotonic() + LONGEST_LOAD + 60
        while process.running and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        status = process.stop()
    if status != 0:
        raise FailedError(f"{name} ended with {status}: {process.last_words()}")
    told: dict[str, Any] = json.loads(log.read_text())
    return told


def run(service: TaskService, shape: Shape) -> Flow:
    """Raises FailedError when a submission was refused or a task did not complete."""
    quiet, before = Quiet(), service.counts()
    cpu, machine, begun = service.cpu(), machine_cpu(), time.monotonic()
    told = _submit(service, shape)
    tasks = _drained(service, before.pending, before.completed, begun)
    seconds = time.monotonic() - begun
    cpu, machine = service.cpu() - cpu, machine_cpu() - machine
    others, after = quiet.others(), service.counts()
    if after.failed != before.failed:
        raise FailedError(f"{after.failed - before.failed} tasks failed")
    latency = told["latency_us"]
    acks = latency["p50"] / 1e3, latency["p99"] / 1e3
    return Flow(tasks, seconds, tasks / seconds, cpu * 1e6 / tasks, machine * 1e6 / tasks, *acks, others)


def middle(flows: Sequence[Flow]) -> Flow:
    """That with the median rate."""
    wanted = median(flow.rate for flow in flows)
    return min(flows, key=lambda flow: abs(flow.rate - wanted))


def fill(service: TaskService, tasks: int, capability: str, batch: int = 1000) -> None:
    """Queues tasks; returns when they are durable."""
    one = body(capability)
    while tasks > 0:
        size = min(batch, tasks)
        request = service.wire("fill", "POST", "/tasks/batch", {"tasks": [one] * size})
        requests = tasks // size
        # One connection: a generator that ends leaves requests behind on its other ones.
        _load(service, request, requests, 1)
        tasks -= requests * size


def _submit(service: TaskService, shape: Shape) -> dict[str, Any]:
    mark = "#" * len(str(shape.classes - 1))
    one = body(CAPABILITY if shape.classes == 1 else f"class-{mark}")
    if shape.batch == 1:
        request = service.wire("submit", "POST", "/tasks", one)
    else:
        request = service.wire("submit", "POST", "/tasks/batch", {"tasks": [one] * shape.batch})
    return _load(service, request, shape.tasks // shape.batch, shape.clients, shape.classes)


def _load(service: TaskService, request: Path, requests: int, clients: int, classes: int = 1) -> dict[str, Any]:
    options: list[object] = ["--port", service.port, "--request", request, "--requests", requests]
    options += ["--concurrency", min(clients, requests), "--seconds", LONGEST_LOAD]
    options += ["--vary", classes] if classes > 1 else []
    told = load("closed_loop", service.folder, *options)
    if told["errors"] or set(told["statuses"]) != {"200"}:
        raise FailedError(f"submissions failed: {told['errors']} without an answer, statuses {told['statuses']}")
    return told


def _drained(service: TaskService, pending: int, completed: int, begun: float) -> int:
    """Waits until nothing is left of what was submitted; how many tasks have completed. It looks seldom while much is
    left: a look costs the service a millisecond."""
    end = time.monotonic() + LONGEST_DRAIN
    while time.monotonic() < end:
        counts = service.counts()
        left, done = counts.pending - pending + counts.active, counts.completed - completed
        if left <= 0:
            return done
        pace = done / (time.monotonic() - begun)
        time.sleep(min(max(left / pace / 2 if pace else 0.05, 0.005), 0.25))
    raise FailedError(f"{left} tasks were not finished after {LONGEST_DRAIN:g} s")


def offered(service: TaskService, rate: int, seconds: int) -> dict[str, float]:
    """ms from the moment at which a task was due until it is acknowledged, and until the event stream tells that its
    result is durable; `late` is how late the generator itself was."""
    request = service.wire("offered", "POST", "/tasks", body(task_id=f"b{time.monotonic_ns()}-########"))
    events = service.wire("events", "GET", "/events?type=task_completed")
    count = rate * seconds
    options = ["--port", service.port, "--request", request, "--events", events, "--rate", rate, "--count", count]
    told = load("offered", service.folder, *options)
    if told["acked"] != count or told["done"] != count:
        raise FailedError(f"of {count} tasks {told['acked']} were acknowledged and {told['done']} completed")
    return {
        f"{name}_{p}_ms": told[f"{name}_us"][p] / 1e3
        for name in ("ack", "result", "late")
        for p in ("p50", "p99", "max")
    }


def asked(service: TaskService, path: str, requests: int) -> dict[str, float]:
    """ms for one GET after the other."""
    request = service.wire("ask", "GET", path)
    told = load(
        "closed_loop", service.folder, "--port", service.port, "--request", request, "--requests", requests,
        "--concurrency", 1, "--seconds", 60,
    )  # fmt: skip
    if told["errors"] or set(told["statuses"]) != {"200"}:
        raise FailedError(f"GET {path}: statuses {told['statuses']}, {told['errors']} errors")
    return {p: told["latency_us"][p] / 1e3 for p in ("p50", "p99", "max")}


@contextmanager
def pushed(folder: Path, url: str, nodes: int, slots: int) -> Iterator[tuple[TaskService, WorkerNodes]]:
    """A new service with nodes that tasks are pushed to; `slots` of each node."""
    stubs = WorkerNodes(nodes, folder)  # first: the service takes a port that none of a thousand nodes has
    service = TaskService(folder, url)
    try:
        service.start()
        service.register(stubs.ports, slots)
        yield service, stubs
    finally:
        service.stop()
        stubs.stop()


@contextmanager
def pulled(folder: Path, url: str, nodes: int, limit: int) -> Iterator[TaskService]:
    """A new service with nodes that ask for up to `limit` tasks at a time and report in batches."""
    service = TaskService(folder, url)
    pullers: Process | None = None
    try:
        service.start()
        command = [sys.executable, "-m", "benchmarks.tasks_pullers", "--port", str(service.port)]
        command += ["--nodes", str(nodes), "--limit", str(limit)]
        pullers = Process(command, log=folder / "pullers.log", env={**os.environ, KEY_VARIABLE: KEY})
        end = time.monotonic() + 20
        while service.call("GET", "/nodes")["active_nodes"] < nodes:
            if time.monotonic() > end or not pullers.running:
                raise FailedError(f"the nodes did not come: {pullers.last_words()}")
            time.sleep(0.05)
        yield service
        if not pullers.running:
            raise FailedError(f"the nodes went away: {pullers.last_words()}")
    finally:
        if pullers is not None:
            pullers.stop()
        service.stop()
