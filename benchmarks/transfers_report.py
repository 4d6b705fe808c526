"""What a run of the benchmark of large files says: goals, tables, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.environment import HERE
from benchmarks.report import Table, listed, number, percent
from benchmarks.summary import Verdict

PAGE = HERE.parent / "docs" / "explanation" / "registry.md"
RATE, GROWTH_MIB = 0.5, 64.0  # issue 5, "Must show" 4: of nginx's rate; what counts as flat
PEER = "nginx"
RANDOM = "download, ranges of 1 MiB at random"
NO_GOALS = (RANDOM,)  # what a request costs, not how fast bytes go
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Sample:
    """One transfer, or one series of them: `bytes` in `seconds`, CPU seconds of the server and its peak of memory."""

    group: str
    name: str
    round: int
    bytes: int
    seconds: float
    cpu: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """MiB/s."""
        return self.bytes / MIB / self.seconds


@dataclass(frozen=True)
class Damage:
    """Whether a changed bit was found, and seconds of the look at all bytes."""

    found: bool
    seconds: float


class TransferReport:
    """Everything that is said about a run."""

    def __init__(
        self,
        conditions: Mapping[str, object],
        samples: Sequence[Sample],
        rest_mib: float,
        damage: Damage,
        others: float,
    ) -> None:
        """`rest_mib` is what the service has before the first large file, `others` the share of the cores that other
        processes and the kernel's own threads took."""
        self._conditions, self._rest, self._damage, self._others = conditions, rest_mib, damage, others
        self._samples = samples
        self._by_key: dict[tuple[str, str], list[Sample]] = {}
        for sample in sorted(samples, key=lambda one: one.round):
            self._by_key.setdefault((sample.group, sample.name), []).append(sample)

    def ratio(self, group: str, name: str) -> float:
        """To nginx's rate in the same round; the median of the rounds."""
        pairs = zip(self._by_key[group, name], self._by_key[group, PEER], strict=True)
        return median(one.rate / peer.rate for one, peer in pairs)

    def verdicts(self) -> list[Verdict]:
        found = [
            Verdict(f"{group}: {name}, x nginx", self.ratio(group, name), RATE, True)
            for group, name in self._by_key
            if name.startswith("ours") and group not in NO_GOALS
        ]
        peak = max(one.peak_mib for one in self._samples if one.name.startswith("ours"))
        found.append(Verdict("memory: highest peak above rest, MiB", peak - self._rest, GROWTH_MIB, False))
        found.append(Verdict("a changed bit is found (1: yes)", float(self._damage.found), 1, True))
        return found

    def tables(self) -> list[Table]:
        header = ["transfer", "MiB/s", "x nginx", "least", "most", "CPU s/GiB", "peak MiB"]
        rows = []
        for (group, name), samples in self._by_key.items():
            rates = [one.rate for one in samples]
            figures = [median(rates), self.ratio(group, name), min(rates), max(rates)]
            figures.append(median(one.cpu / one.bytes * GIB for one in samples))
            rows.append([f"{group}: {name}", *map(number, figures), number(max(one.peak_mib for one in samples))])
        words = {True: "met", False: "MISSED", None: "not measured"}
        goals = [
            [one.goal, number(one.measured), f"{'>=' if one.at_least else '<='} {number(one.limit)}", words[one.met]]
            for one in self.verdicts()
        ]
        return [
            Table("Medians of the rounds; CPU and memory are of the server", header, rows),
            Table("Goals", ["goal", "measured", "asked", "verdict"], goals),
        ]

    def remarks(self) -> list[str]:
        return [
            f"the service has {self._rest:.0f} MiB at rest",
            f"a look at all bytes takes {self._damage.seconds:.2f} s",
            f"others, the kernel's threads that write to the disk among them, had {percent(self._others)} of the cores",
        ]

    def show(self, console: Console) -> None:
        for table in self.tables():
            table.show(console)
        for remark in self.remarks():
            console.print(remark, style="dim")

    def markdown(self) -> str:
        lines = listed(self._conditions)
        lines += ["", *(table.markdown() for table in self.tables())]
        lines += [f"- {remark}" for remark in self.remarks()]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, folder: Path) -> None:
        """transfers.json and transfers.md."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "conditions": self._conditions,
            "samples": [asdict(one) for one in self._samples],
            "rest_mib": self._rest,
            "damage": asdict(self._damage),
            "others": self._others,
            "goals": [{**asdict(one), "met": one.met} for one in self.verdicts()],
        }
        (folder / "transfers.json").write_text(json.dumps(document, indent=1) + "\n")
        head = "# Large files\n\nWritten by `make bench-transfers`; quote the ratios, machines differ.\n\n"
        (folder / "transfers.md").write_text(head + self.markdown())
