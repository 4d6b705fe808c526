"""Tables of a run: for the terminal, as Markdown for the documentation, as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.measure import Measurement
from benchmarks.plan import Rate, Scenario, Streams
from benchmarks.summary import Summary

GLOSSARY = {
    "rate": "answers per second",
    "p50_us, p90_us, p99_us, max_us": "time from sending a request to its complete answer, microseconds",
    "cpu_us": "CPU time (user and system) of the gateway per request, or per chunk of a stream, microseconds",
    "core": "share of one core that the gateway used; for streams while all of them were open",
    "rss_mib, rss_rest_mib": "highest resident memory of the gateway's processes, and that before the load, MiB",
    "kb_per_stream": "growth of resident memory from before the load to its peak, per stream, kB",
    "ttft_*_us": "time from sending the request to the first chunk of the answer, microseconds",
    "late_*_us": "arrival of a chunk less the time the stub stamped into it, microseconds",
    "others": "share of the gateway's core that other processes took meanwhile; more than a few percent spoil a figure",
    "on_time": "part of all expected chunks that arrived within one interval of their stamp",
    "delivered": "part of all expected chunks that arrived",
    "held_back": "slow readers' streams that the stub could not write to: back-pressure reached the node",
    "stub_drift_p99_us": "how late the stub itself was; large values mean that the load core was full",
    "added_*": "the figure less that of the direct path in the same round",
    "*_x_nginx, *_x_litellm": "the figure divided by that of nginx or LiteLLM in the same round; medians of rounds",
}


@dataclass(frozen=True)
class Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.header) + " |"]
        lines.append("|" + "---|" + "---:|" * (len(self.header) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"

    def show(self, console: Console) -> None:
        table = RichTable(title=self.title, title_justify="left")
        for i, name in enumerate(self.header):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def number(value: float | None, digits: int = 3) -> str:
    """A figure with three significant digits and thousands separated; a dash where there is none."""
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


class Report:
    """Everything that is said about a run."""

    def __init__(
        self,
        summary: Summary,
        scenarios: Sequence[Scenario],
        conditions: Mapping[str, object],
        left_out: Mapping[str, str],
    ) -> None:
        self._summary, self._scenarios, self._conditions, self._left_out = summary, scenarios, conditions, left_out
        self._medians = summary.medians()

    def tables(self) -> list[Table]:
        tables = [self._rate_table(each) for each in self._scenarios if isinstance(each, Rate)]
        tables += [self._stream_table(each) for each in self._scenarios if isinstance(each, Streams)]
        return [*(table for table in tables if table.rows), self._goal_table()]

    def _rate_table(self, scenario: Rate) -> Table:
        header = ["target", "req/s", "x nginx", "x LiteLLM", "p50 us", "added p50", "p99 us"]
        header += ["CPU us", "CPU x nginx", "core", "MiB"]
        rows, name, summary = [], scenario.name, self._summary
        for target, v in self._medians.get(name, {}).items():
            against = [number(summary.ratio(name, target, base)) for base in ("nginx", "litellm")]
            added = number(summary.added(name, target, "p50_us")) if target != "direct" else "-"
            latency = [number(v.get("p50_us")), added, number(v.get("p99_us"))]
            cost = [number(v.get("cpu_us")), number(summary.ratio(name, target, "nginx", "cpu_us"))]
            cost += [percent(v.get("core")), number(v.get("rss_mib"))]
            rows.append([target, number(v.get("rate")), *against, *latency, *cost])
        what = f"{scenario.concurrency} clients, {scenario.dialect} to openai, {scenario.body_bytes:,}-byte body"
        return Table(f"{name}: {what}{', all on one core' if scenario.one_core else ''}", header, rows)

    def _stream_table(self, scenario: Streams) -> Table:
        header = ["target", "on time", "TTFT p50 us", "added", "late p50 us", "late p99 us", "added p99"]
        header += ["CPU us/chunk", "x nginx", "core", "MiB rest", "MiB peak", "kB/stream"]
        rows, name, summary = [], scenario.name, self._summary
        for target, v in self._medians.get(name, {}).items():
            added = [
                summary.added(name, target, f) if target != "direct" else None for f in ("ttft_p50_us", "late_p99_us")
            ]
            times = [number(v.get("ttft_p50_us")), number(added[0]), number(v.get("late_p50_us"))]
            times += [number(v.get("late_p99_us")), number(added[1])]
            cost = [
                number(v.get("cpu_us")),
                number(summary.ratio(name, target, "nginx", "cpu_us")),
                percent(v.get("core")),
            ]
            memory = [number(v.get(figure)) for figure in ("rss_rest_mib", "rss_mib", "kb_per_stream")]
            rows.append([target, percent(v.get("on_time"), 2), *times, *cost, *memory])
        slow = f", beside {scenario.slow_readers} that nobody reads" if scenario.slow_readers else ""
        what = f"{scenario.streams:,} streams of {scenario.chunks} chunks, one per {scenario.interval_ms} ms"
        return Table(f"{name}: {what}, {scenario.dialect} to openai{slow}", header, rows)

    def _goal_table(self) -> Table:
        words = {True: "met", False: "MISSED", None: "not measured"}
        rows = [
            [v.goal, number(v.measured, 4), f"{'>=' if v.at_least else '<='} {number(v.limit)}", words[v.met]]
            for v in self._summary.verdicts()
        ]
        return Table("Goals", ["goal", "measured", "asked", "verdict"], rows)

    def remarks(self) -> list[str]:
        """What a reader must know beside the figures: targets left out, and faults that make a figure worthless."""
        remarks = [f"{name} is left out: {reason}" for name, reason in self._left_out.items()]
        for each in self._summary.faults:
            what = ", ".join(f"{count} {name}" for name, count in each.faults.items())
            remarks.append(f"faults in {each.scenario}, {each.target}, round {each.round}: {what}")
        if disturbed := self._summary.disturbed():
            where = ", ".join(sorted({f"{each.scenario} {each.target}" for each in disturbed}))
            remarks.append(f"disturbed by other processes, measure again on a quiet machine: {where}")
        return remarks

    def show(self, console: Console) -> None:
        for table in self.tables():
            table.show(console)
        for remark in self.remarks():
            console.print(remark, style="yellow")

    def markdown(self) -> str:
        lines = ["# Gateway benchmark", "", "Written by `make bench-gateway`; quote the ratios, machines differ.", ""]
        lines += listed(self._conditions)
        rest = {name: self._summary.rest(name) for name in sorted({t for m in self._medians.values() for t in m})}
        at_rest = ", ".join(f"{name} {number(value)}" for name, value in rest.items() if value is not None)
        lines += [f"- resident MiB at rest: {at_rest}", ""]
        lines += [table.markdown() for table in self.tables()]
        lines += [f"- {remark}" for remark in self.remarks()]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, folder: Path, measurements: Sequence[Measurement]) -> None:
        """gateway.json and gateway.md in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        targets = sorted({each.target for each in measurements})
        document = {
            "conditions": self._conditions,
            "glossary": GLOSSARY,
            "left_out": self._left_out,
            "goals": [{**asdict(each), "met": each.met} for each in self._summary.verdicts()],
            "rest_mib": {target: self._summary.rest(target) for target in targets},
            "medians": self._medians,
            "paired": self._summary.ratios(targets),
            "measurements": [asdict(each) for each in measurements],
        }
        (folder / "gateway.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "gateway.md").write_text(self.markdown())


def listed(conditions: Mapping[str, object]) -> list[str]:
    """Lines of Markdown."""
    return [f"- {name}: {_plain(value)}" for name, value in conditions.items()]


def fill_page(page: Path, results: Path, made_by: str) -> None:
    """Puts what a run wrote into a page, between the marks of the command that it was `made_by`."""
    begin, end = f"<!-- measured: begin ({made_by}) -->", "<!-- measured: end -->"
    measured = results.read_text().partition("\n- ")[2]
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n\n- {measured.rstrip()}\n\n{end}{after}")


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
