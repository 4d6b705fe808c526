"""What grows with the queue, with the nodes and with the classes of tasks; starts and restarts on a full ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.tasks_flow import Flow, Shape, asked, fill, middle, pushed, run
from benchmarks.tasks_service import CAPABILITY, FailedError, TaskService, WorkerNodes

BALLAST = "nobody-has-this"  # a capability of no node: such tasks stay queued
SLOTS = 1000  # of all nodes together, however many there are
READS = 500
DEEP = 100  # thousands of rows before a page that is called deep
IN_FLIGHT = 2_000  # tasks submitted while the nodes do not answer, before the service is killed
CLASSES = 1_000
NODES = 100
FIRST_WITHIN = 30.0  # seconds
SETTLE = 0.05  # seconds in which the nodes read what a dead service had sent
Say = Callable[[str], None]


@dataclass(frozen=True)
class Restart:
    """The service is killed with kill -9 under load, and another process goes on with its data on the same host.
    Seconds until it answers /health, and until a node gets the first task: after the start of a new process, and after
    the kill of one that `--restart` watches over."""

    ready: float
    first_dispatch: float
    watched_ready: float
    watched_first_dispatch: float


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    tasks: int
    rounds: int
    depths: Sequence[int]
    nodes: Sequence[int]
    restarts: Sequence[int]  # depths at which the service is killed
    clients: int = 128


@dataclass
class Depths:
    """By queued rows: the flow through them, and restarts on them; at the deepest: p50 and p99 of reads in ms."""

    flows: dict[int, Flow]
    restarts: dict[int, Restart]
    reads: dict[str, dict[str, float]]
    rss_mib: dict[int, float]


def depths(folder: Path, url: str, sizes: Sizes, say: Say) -> Depths:
    """Tasks through a queue in which more and more wait for a node that never comes."""
    found = Depths({}, {}, {}, {})
    with pushed(folder, url, NODES, SLOTS // NODES) as (service, stubs):
        run(service, Shape(sizes.tasks // 2, clients=sizes.clients))  # warm
        queued = 0
        for depth in sizes.depths:
            fill(service, depth - queued, BALLAST)
            queued = depth
            flows = [run(service, Shape(sizes.tasks, clients=sizes.clients)) for _ in range(sizes.rounds)]
            found.flows[depth] = middle(flows)
            found.rss_mib[depth] = service.rss_mib()
            say(f"{depth:,} queued: {found.flows[depth].rate:,.0f} tasks/s, {found.rss_mib[depth]:,.0f} MiB")
            if depth in sizes.restarts:
                found.restarts[depth] = restart(service, stubs)
                say(f"{depth:,} queued, killed and started: {found.restarts[depth]}")
        found.reads = reads(service)
    return found


def reads(service: TaskService) -> dict[str, dict[str, float]]:
    """What a console asks, over HTTP, one after the other."""
    oldest = int(service.call("GET", "/tasks?status=pending&limit=50")["next"])
    for _ in range(DEEP):
        following = service.call("GET", f"/tasks?status=pending&limit=1000&before={oldest}")["next"]
        if following is None:
            break
        oldest = int(following)
    one = service.call("GET", f"/tasks?status=pending&limit=1&before={oldest}")["tasks"]["pending"]
    paths = {
        "page of 50": "/tasks?status=pending&limit=50",
        "page of 50, deep": f"/tasks?status=pending&limit=50&before={oldest}",
        "page of 50 completed": "/tasks?status=completed&limit=50",
        "page of 50 running, of which there are none": "/tasks?status=running&limit=50",
        "counts by status": "/tasks?status=pending&limit=1",  # and a page of one
    }
    if one:
        paths["one task by id"] = f"/tasks/{one[0]['task_id']}"
    return {name: asked(service, path, READS) for name, path in paths.items()}


def restart(service: TaskService, stubs: WorkerNodes) -> Restart:
    """Kills the service while its nodes have tasks and more of them wait, and has another process go on."""
    ready, first = _killed(service, stubs, watched=False)
    service.stop()
    service.start(watched=True)
    again, first_again = _killed(service, stubs, watched=True)
    service.stop()
    service.start()
    return Restart(ready, first, again, first_again)


def _killed(service: TaskService, stubs: WorkerNodes, *, watched: bool) -> tuple[float, float]:
    """Seconds until the service is ready, and until the first task reaches a node."""
    before = service.counts()
    stubs.freeze()
    try:
        fill(service, IN_FLIGHT, CAPABILITY, batch=100)
        begun = time.monotonic_ns()
        service.kill()
    finally:
        stubs.thaw()
    time.sleep(SETTLE)
    stubs.stats()
    if watched:
        ready = service.healthy(begun / 1e9)
    else:
        begun = time.monotonic_ns()
        ready = service.start()
    first = _first_task(stubs)
    end = time.monotonic() + 60
    while service.counts().completed - before.completed < IN_FLIGHT:
        if time.monotonic() > end:
            raise FailedError("tasks were lost in a restart")
        time.sleep(0.05)
    return ready, (first - begun) / 1e9


def _first_task(stubs: WorkerNodes) -> int:
    """When the nodes got the first task since they were last asked, in CLOCK_MONOTONIC ns."""
    end = time.monotonic() + FIRST_WITHIN
    while time.monotonic() < end:
        told = stubs.stats()
        if told["tasks"]:
            return told["first_ns"]
        time.sleep(0.01)
    raise FailedError(f"no task was handed out within {FIRST_WITHIN:g} s of the restart")


def nodes(folder: Path, create: Callable[[], str], sizes: Sizes, say: Say) -> dict[int, Flow]:
    """The same tasks with the same number of slots on more and more nodes, by turns."""
    with ExitStack() as stack:
        services = {
            count: stack.enter_context(pushed(folder / f"nodes-{count}", create(), count, max(SLOTS // count, 1)))[0]
            for count in sizes.nodes
        }
        for service in services.values():
            run(service, Shape(sizes.tasks // 2, clients=sizes.clients))
        found = _by_turns(sizes, services, lambda count: Shape(sizes.tasks // 2, clients=sizes.clients))
    for count, flow in found.items():
        say(f"{count:,} nodes: {flow.rate:,.0f} tasks/s")
    return found


def _by_turns(sizes: Sizes, services: Mapping[int, TaskService], shape: Callable[[int], Shape]) -> dict[int, Flow]:
    """One flow of each size, all of one round: of that in which the last size cost, in terms of the first, what it did
    in the middle of all rounds. Flows of one round are seconds apart, and the machine is quicker at one moment than at
    another."""
    found = [
        {size: run(service, shape(size)) for size, service in services.items()} for _ in range(2 * sizes.rounds + 1)
    ]
    first, *_, last = services
    costs = [flows[last].cost_us / flows[first].cost_us for flows in found]
    wanted = median(costs)
    return min(zip(costs, found, strict=True), key=lambda one: abs(one[0] - wanted))[1]


def classes(folder: Path, url: str, sizes: Sizes, say: Say) -> dict[int, Flow]:
    """Tasks of one class and of many: each of 100 nodes has a tenth of all capabilities, each task asks for one."""
    names = [f"class-{number:03}" for number in range(CLASSES)]
    tenths = [[CAPABILITY, *names[part::10]] for part in range(10)]
    stubs = WorkerNodes(NODES, folder)
    service = TaskService(folder, url)
    try:
        service.start()
        service.register(stubs.ports, SLOTS // NODES, tenths)
        run(service, Shape(sizes.tasks // 2, clients=sizes.clients))
        found = _by_turns(
            sizes,
            dict.fromkeys((1, CLASSES), service),
            lambda count: Shape(sizes.tasks // 2, clients=sizes.clients, classes=count),
        )
    finally:
        service.stop()
        stubs.stop()
    for count, flow in found.items():
        say(f"{count:,} classes: {flow.rate:,.0f} tasks/s")
    return found
