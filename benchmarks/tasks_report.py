"""What a run of the task benchmark says: goals, tables, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.report import Table, listed, number, percent
from benchmarks.summary import QUIET_CORE, Verdict
from benchmarks.tasks_flow import Flow
from benchmarks.tasks_peers import PEERS, PeerFlow
from benchmarks.tasks_scaling import Depths

STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
PUSH_ONE, PUSH_BATCH, PULL_ONE, PULL_BATCH = "push-single", "push-batch", "pull-single", "pull-batch"
FLOWS = {
    PUSH_ONE: "one by one, pushed to 100 nodes",
    PUSH_BATCH: "batches of 100, pushed to 100 nodes",
    PULL_ONE: "one by one, 8 nodes that pull and report in batches",
    PULL_BATCH: "batches of 100, 8 nodes that pull and report in batches",
}


@dataclass(frozen=True)
class Goal:
    """`figure` names one of `Results.figures()`."""

    text: str
    figure: str
    limit: float
    at_least: bool = False


# Issue 4, "Speed". Ratios: SQLite to Celery and DBOS, PostgreSQL to procrastinate.
GOALS = (
    Goal("SQLite, one by one: tasks/s", "sqlite/push-single/rate", 10_000, True),
    Goal("SQLite, batches of 100: tasks/s", "sqlite/batch/rate", 25_000, True),
    Goal("PostgreSQL, one by one: tasks/s", "postgres/push-single/rate", 6_000, True),
    Goal("PostgreSQL, batches of 100: tasks/s", "postgres/batch/rate", 12_000, True),
    Goal("SQLite, one by one, x Celery (AOF always)", "sqlite/x/Celery", 10, True),
    Goal("SQLite, one by one, x DBOS on SQLite", "sqlite/x/DBOS, SQLite", 10, True),
    Goal("SQLite, one by one, x DBOS on PostgreSQL", "sqlite/x/DBOS, PostgreSQL", 10, True),
    Goal("PostgreSQL, one by one, x procrastinate", "postgres/x/procrastinate", 8, True),
    Goal("SQLite, 1,000/s: acknowledged, p50 ms", "sqlite/latency/ack_p50_ms", 1),
    Goal("SQLite, 1,000/s: acknowledged, p99 ms", "sqlite/latency/ack_p99_ms", 10),
    Goal("SQLite, 1,000/s: durable result, p50 ms", "sqlite/latency/result_p50_ms", 3),
    Goal("SQLite, 1,000/s: durable result, p99 ms", "sqlite/latency/result_p99_ms", 25),
    Goal("PostgreSQL, 1,000/s: acknowledged, p50 ms", "postgres/latency/ack_p50_ms", 4),
    Goal("PostgreSQL, 1,000/s: acknowledged, p99 ms", "postgres/latency/ack_p99_ms", 15),
    Goal("PostgreSQL, 1,000/s: durable result, p50 ms", "postgres/latency/result_p50_ms", 10),
    Goal("PostgreSQL, 1,000/s: durable result, p99 ms", "postgres/latency/result_p99_ms", 30),
    *(
        goal
        for store, name in STORES.items()
        for goal in (
            Goal(f"{name}, cost at 1M queued, x 1k", f"{store}/depths/1000000/1000", 1.5),
            Goal(f"{name}, cost with 1,000 nodes, x 10", f"{store}/nodes/1000/10", 1.3),
            Goal(f"{name}, cost with 1,000 classes, x 1", f"{store}/classes/1000/1", 1.5),
            Goal(f"{name}, page of 50 at 1M rows, p99 ms", f"{store}/1000000/page of 50", 10),
            Goal(f"{name}, page of 50, deep, at 1M rows, p99 ms", f"{store}/1000000/page of 50, deep", 10),
            Goal(f"{name}, counts by status at 1M rows, p99 ms", f"{store}/1000000/counts by status", 5),
            Goal(f"{name}, ready with 100,000 queued, s", f"{store}/restart/100000/ready", 2),
        )
    ),
    Goal("SQLite, kill -9 with --restart: first task, s", "sqlite/restart/1000/watched_first_dispatch", 1),
    # Another process on the same database is another replica: the lease of the dead one ends after 6 s.
    Goal("PostgreSQL, kill -9 with --restart: first task, s", "postgres/restart/1000/watched_first_dispatch", 1),
)


@dataclass
class Measured:
    """Of one store."""

    flows: dict[str, Flow] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    nodes: dict[int, Flow] = field(default_factory=dict)
    classes: dict[int, Flow] = field(default_factory=dict)
    depths: Depths = field(default_factory=lambda: Depths({}, {}, {}, {}))


@dataclass
class Results:
    """Of a run."""

    conditions: dict[str, object]
    stores: dict[str, Measured] = field(default_factory=dict)
    peers: dict[str, PeerFlow] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for store, measured in self.stores.items():
            for name, flow in measured.flows.items():
                found[f"{store}/{name}/rate"] = flow.rate
            batches = [measured.flows[name].rate for name in (PUSH_BATCH, PULL_BATCH) if name in measured.flows]
            found |= {f"{store}/batch/rate": max(batches)} if batches else {}
            found |= {f"{store}/latency/{name}": value for name, value in measured.latency.items()}
            if PUSH_ONE in measured.flows:
                rate = measured.flows[PUSH_ONE].rate
                found |= {f"{store}/x/{name}": rate / peer.rate for name, peer in self.peers.items()}
            found |= _ratios(f"{store}/nodes", measured.nodes)
            found |= _ratios(f"{store}/classes", measured.classes)
            found |= _ratios(f"{store}/depths", measured.depths.flows)
            deepest = max(measured.depths.flows, default=0)
            for name, times in measured.depths.reads.items():
                found[f"{store}/{deepest}/{name}"] = times["p99"]
            for depth, restart in measured.depths.restarts.items():
                found[f"{store}/restart/{depth}/ready"] = restart.ready
                found[f"{store}/restart/{depth}/first_dispatch"] = restart.first_dispatch
                found[f"{store}/restart/{depth}/watched_first_dispatch"] = restart.watched_first_dispatch
        return found

    def verdicts(self) -> list[Verdict]:
        figures = self.figures()
        return [Verdict(goal.text, figures.get(goal.figure), goal.limit, goal.at_least) for goal in GOALS]


def growth(flow: Flow, base: Flow) -> float:
    """How much more a task costs: the worse of wall clock and CPU of the machine."""
    return max(flow.cost_us / base.cost_us, flow.machine_cpu_us / base.machine_cpu_us)


def _ratios(name: str, flows: Mapping[int, Flow]) -> dict[str, float]:
    base = min(flows, default=0)
    return {f"{name}/{count}/{base}": growth(flow, flows[base]) for count, flow in flows.items()}


class TaskReport:
    """Everything that is said about a run."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def tables(self) -> list[Table]:
        found = [self._flows(), self._peers(), self._latency(), self._growth(), self._reads(), self._restarts()]
        return [*(table for table in found if table.rows), self._goals()]

    def show(self, console: Console) -> None:
        for table in self.tables():
            table.show(console)
        for remark in self.remarks():
            console.print(remark, style="yellow")

    def remarks(self) -> list[str]:
        """What a reader must know beside the figures."""
        found = [f"left out: {what}: {why}" for what, why in self._results.left_out.items()]
        disturbed = [f"{name} ({percent(others)})" for name, others in self._others() if others > QUIET_CORE]
        if disturbed:
            found.append(f"others used the cores meanwhile, measure again on a quiet machine: {', '.join(disturbed)}")
        return found

    def _others(self) -> Iterator[tuple[str, float]]:
        for store, measured in self._results.stores.items():
            name = STORES[store]
            yield from ((f"{name} {flow}", found.others) for flow, found in measured.flows.items())
            for what, flows in (
                ("nodes", measured.nodes),
                ("classes", measured.classes),
                ("queued", measured.depths.flows),
            ):
                yield from ((f"{name} {count:,} {what}", found.others) for count, found in flows.items())
        yield from ((name, peer.others) for name, peer in self._results.peers.items())

    def markdown(self) -> str:
        lines = listed(self._results.conditions)
        lines += ["", *(table.markdown() for table in self.tables())]
        lines += [f"- {remark}" for remark in self.remarks()]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, folder: Path) -> None:
        """tasks.json and tasks.md."""
        folder.mkdir(parents=True, exist_ok=True)
        goals = [{**asdict(each), "met": each.met} for each in self._results.verdicts()]
        document = {**asdict(self._results), "figures": self._results.figures(), "goals": goals}
        (folder / "tasks.json").write_text(json.dumps(document, indent=1) + "\n")
        head = "# Task benchmark\n\nWritten by `make bench-tasks`; quote the ratios, machines differ.\n\n"
        (folder / "tasks.md").write_text(head + self.markdown())

    def _flows(self) -> Table:
        header = ["ours", "tasks/s", "service CPU us/task", "machine CPU us/task", "ack p50 ms", "ack p99 ms", "tasks"]
        rows = []
        for store, measured in self._results.stores.items():
            for name, flow in measured.flows.items():
                cost = [number(flow.service_cpu_us), number(flow.machine_cpu_us)]
                ack = [number(flow.ack_p50_ms), number(flow.ack_p99_ms)]
                rows.append([f"{STORES[store]}, {FLOWS[name]}", number(flow.rate), *cost, *ack, f"{flow.tasks:,}"])
        return Table("First submission to the last durable result; ack is of one request", header, rows)

    def _peers(self) -> Table:
        header = ["peer", "tasks/s", "machine CPU us/task", "ours, SQLite, x", "ours, PostgreSQL, x", "tasks"]
        figures, rows = self._results.figures(), []
        for peer in PEERS:
            flow = self._results.peers.get(peer.name)
            if flow is not None:
                ratios = [number(figures.get(f"{store}/x/{peer.name}")) for store in STORES]
                name = f"{peer.name} {flow.version} ({peer.what})"
                rows.append([name, number(flow.rate), number(flow.machine_cpu_us), *ratios, f"{flow.tasks:,}"])
        return Table("Peers; ours is one by one, pushed", header, rows)

    def _latency(self) -> Table:
        header = ["1,000 tasks/s offered", "p50 ms", "p99 ms", "max ms"]
        names = {"ack": "acknowledged", "result": "result durable and told", "late": "the generator's own part"}
        rows = [
            [f"{STORES[store]}: {text}", *(number(measured.latency[f"{name}_{p}_ms"]) for p in ("p50", "p99", "max"))]
            for store, measured in self._results.stores.items()
            if measured.latency
            for name, text in names.items()
        ]
        return Table("Latency from the moment at which a task was due", header, rows)

    def _growth(self) -> Table:
        header = ["what", "tasks/s", "wall us/task", "service CPU us", "machine CPU us", "cost, x", "service MiB"]
        rows = []
        for store, measured in self._results.stores.items():
            groups = (("queued rows", measured.depths.flows), ("nodes", measured.nodes), ("classes", measured.classes))
            for what, flows in groups:
                for count, flow in flows.items():
                    memory = measured.depths.rss_mib.get(count) if flows is measured.depths.flows else None
                    cost = [number(flow.cost_us), number(flow.service_cpu_us), number(flow.machine_cpu_us)]
                    cost += [number(growth(flow, flows[min(flows)])), number(memory)]
                    rows.append([f"{STORES[store]}, {count:,} {what}", number(flow.rate), *cost])
        return Table("What grows; one by one, pushed", header, rows)

    def _reads(self) -> Table:
        rows = [
            [f"{STORES[store]}, {max(measured.depths.flows):,} rows: {name}", *(number(times[p]) for p in times)]
            for store, measured in self._results.stores.items()
            for name, times in measured.depths.reads.items()
        ]
        return Table("Reads over HTTP, one after the other", ["what", "p50 ms", "p99 ms", "max ms"], rows)

    def _restarts(self) -> Table:
        rows = [
            [
                f"{STORES[store]}, {depth:,} queued",
                *map(number, (restart.ready, restart.first_dispatch)),
                *map(number, (restart.watched_ready, restart.watched_first_dispatch)),
            ]
            for store, measured in self._results.stores.items()
            for depth, restart in measured.depths.restarts.items()
        ]
        return Table(
            "Started after kill -9 under load",
            ["what", "new process: ready, s", "first task, s", "--restart: ready, s", "first task, s"],
            rows,
        )

    def _goals(self) -> Table:
        words = {True: "met", False: "MISSED", None: "not measured"}
        rows = [
            [
                each.goal,
                number(each.measured),
                f"{'>=' if each.at_least else '<='} {number(each.limit)}",
                words[each.met],
            ]
            for each in self._results.verdicts()
        ]
        return Table("Goals", ["goal", "measured", "asked", "verdict"], rows)
