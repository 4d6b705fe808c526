"""The task engine's benchmark: ours on SQLite and PostgreSQL, and its peers, on the same two cores, durable.

    python -m benchmarks.tasks [--quick] [--stores sqlite,postgres] [--parts flows,peers]

Run by `make bench-tasks`. Everything is on loopback and of this run: service, nodes, clients, databases. Writes
tasks.json and tasks.md. Exit status: 0; 1 when a goal is missed; 2 when nothing could run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import tasks_peers, tasks_scaling
from benchmarks.environment import BUILD, RESULTS, UnavailableError, program, raise_file_limit
from benchmarks.machine import commit_ms, task_conditions
from benchmarks.report import fill_page
from benchmarks.tasks_flow import BATCH, Shape, middle, offered, pulled, pushed, run
from benchmarks.tasks_report import (
    PULL_BATCH,
    PULL_ONE,
    PUSH_BATCH,
    PUSH_ONE,
    STORES,
    Measured,
    Results,
    TaskReport,
)
from benchmarks.tasks_scaling import Sizes
from benchmarks.tasks_servers import ROOT, Postgres
from benchmarks.tasks_service import FailedError, TaskService

PARTS = ("flows", "latency", "nodes", "classes", "depths", "peers")
CORES = 2
NODES, SLOTS = 100, 4  # what a node has by default
PULLERS, PULLED = 8, 200  # nodes that pull, and how many tasks at a time
CLIENTS, BATCH_CLIENTS = 128, 8
RATE = 1_000  # tasks/s offered
PAGE = ROOT / "docs" / "explanation" / "task-performance.md"


@dataclass(frozen=True)
class Plan:
    """How much a run measures."""

    singles: dict[str, int]  # tasks one by one, by store
    batches: dict[str, int]
    rounds: int
    seconds: int  # of offered tasks
    scaling: Sizes
    peers: float  # part of the peers' tasks


FULL = Plan(
    {"sqlite": 60_000, "postgres": 40_000},
    {"sqlite": 120_000, "postgres": 80_000},
    3,
    15,
    Sizes(20_000, 3, (1_000, 10_000, 100_000, 1_000_000), (10, 100, 1_000), (1_000, 100_000)),
    1.0,
)
QUICK = Plan(
    {"sqlite": 8_000, "postgres": 6_000},
    {"sqlite": 15_000, "postgres": 10_000},
    1,
    4,
    Sizes(4_000, 1, (1_000, 20_000), (10, 100), (1_000,)),
    0.2,
)


class Run:
    """One run; what fails is left out and named."""

    def __init__(self, plan: Plan, folder: Path, results: Results, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._results, self._say = plan, folder, results, say
        self._made = 0
        self.postgres = Postgres(folder)

    def store(self, store: str, parts: Sequence[str]) -> None:
        measured = self._results.stores[store] = Measured()
        steps = {
            "flows": self._flows,
            "latency": self._latency,
            "nodes": self._nodes,
            "classes": self._classes,
            "depths": self._depths,
        }
        for name, step in steps.items():
            if name in parts:
                self._say(f"{STORES[store]}: {name}")
                try:
                    step(store, measured)
                except (FailedError, UnavailableError, OSError) as error:
                    self._results.left_out[f"{STORES[store]}, {name}"] = str(error)
                    self._say(f"left out: {error}")

    def peers(self) -> None:
        found, left_out = tasks_peers.run(self._folder, self.postgres, part=self._plan.peers, say=self._say)
        self._results.peers |= found
        self._results.left_out |= left_out

    def _flows(self, store: str, measured: Measured) -> None:
        plan = self._plan
        one = Shape(plan.singles[store], clients=CLIENTS)
        batch = Shape(plan.batches[store], BATCH, BATCH_CLIENTS)
        with pushed(self._new(), self._url(store), NODES, SLOTS) as (service, _):
            self._rounds(store, PUSH_ONE, one, service)
            self._rounds(store, PUSH_BATCH, batch, service)
        with pulled(self._new(), self._url(store), PULLERS, PULLED) as service:
            self._rounds(store, PULL_ONE, one, service)
            self._rounds(store, PULL_BATCH, batch, service)

    def _rounds(self, store: str, name: str, shape: Shape, service: TaskService) -> None:
        flows = self._results.stores[store].flows
        try:
            run(service, Shape(max(shape.tasks // 10, shape.batch), shape.batch, shape.clients))  # warm
            flows[name] = middle([run(service, shape) for _ in range(self._plan.rounds)])
        except FailedError as error:
            self._results.left_out[f"{STORES[store]}, {name}"] = str(error)
            self._say(f"  {name} is left out: {error}")
        else:
            self._say(f"  {name}: {flows[name].rate:,.0f} tasks/s")

    def _latency(self, store: str, measured: Measured) -> None:
        with pushed(self._new(), self._url(store), NODES, SLOTS) as (service, _):
            offered(service, RATE, 2)  # warm
            measured.latency = offered(service, RATE, self._plan.seconds)

    def _nodes(self, store: str, measured: Measured) -> None:
        measured.nodes = tasks_scaling.nodes(self._new(), lambda: self._url(store), self._plan.scaling, self._say)

    def _classes(self, store: str, measured: Measured) -> None:
        measured.classes = tasks_scaling.classes(self._new(), self._url(store), self._plan.scaling, self._say)

    def _depths(self, store: str, measured: Measured) -> None:
        measured.depths = tasks_scaling.depths(self._new(), self._url(store), self._plan.scaling, self._say)

    def _url(self, store: str) -> str:
        return self.postgres.create() if store == "postgres" else ""

    def _new(self) -> Path:
        self._made += 1
        folder = self._folder / f"part-{self._made}"
        folder.mkdir()
        return folder


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers, one round: two minutes, and rough")
    parser.add_argument("--stores", default=",".join(STORES), help="of sqlite, postgres (default: %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--fill-page", action="store_true", help="measure nothing: put the last results into the docs")
    options = parser.parse_args(arguments)
    for chosen, known in ((options.stores, STORES), (options.parts, PARTS)):
        if unknown := set(filter(None, chosen.split(","))) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return options


def measure(options: argparse.Namespace, console: Console) -> Results:
    def say(text: str) -> None:
        console.print(text, style="dim")

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    raise_file_limit()
    for name in ("worker_nodes", "closed_loop", "offered"):
        program(name)
    parts, results = options.parts.split(","), Results(task_conditions())
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="tasks-") as name:
        results.conditions["one commit, ms"] = commit_ms(Path(name))
        run_ = Run(QUICK if options.quick else FULL, Path(name), results, say)
        try:
            for store in filter(None, options.stores.split(",")):
                run_.store(store, parts)
            if "peers" in parts:
                run_.peers()
            results.conditions |= {"postgresql": run_.postgres.version()} if run_.postgres.version() else {}
        finally:
            run_.postgres.stop()
    results.conditions |= {"quick": options.quick, "clients": f"{CLIENTS} one by one, {BATCH_CLIENTS} in batches"}
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.fill_page:
        fill_page(PAGE, options.out / "tasks.md", "make bench-tasks")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 170)
    try:
        results = measure(options, console)
    except UnavailableError as error:
        console.print(f"cannot run: {error}", style="red")
        return 2
    report = TaskReport(results)
    report.show(console)
    report.write(options.out)
    return 1 if any(verdict.met is False for verdict in results.verdicts()) else 0


if __name__ == "__main__":
    sys.exit(main())
