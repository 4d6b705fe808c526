"""Medians over the rounds, ratios of paired measurements, and whether the goals are met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Measurement

Figures = dict[str, dict[str, dict[str, float]]]  # scenario -> target -> name of the figure -> value


QUIET_CORE = 0.05  # share of the gateway's core that others may take
QUIET_STUB_US = 2000.0  # how late the stub may be at p99


@dataclass(frozen=True)
class Verdict:
    """One goal: what was measured (None when it could not be), what is asked for, and whether it is met."""

    goal: str
    measured: float | None
    limit: float
    at_least: bool

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


class Summary:
    """Questions that may be asked of all measurements of a run."""

    def __init__(self, measurements: Sequence[Measurement], rest_mib: dict[str, list[float]]) -> None:
        self._by_key = {(each.scenario, each.target, each.round): each.values for each in measurements}
        self._rounds = sorted({each.round for each in measurements})
        self._rest = rest_mib
        self._measurements = measurements
        self.faults = [each for each in measurements if each.faults]

    def medians(self) -> Figures:
        figures: Figures = {}
        for scenario, target, _ in self._by_key:
            figures.setdefault(scenario, {}).setdefault(target, {})
        for scenario, targets in figures.items():
            for target in targets:
                rounds = [self._by_key[key] for key in self._by_key if key[:2] == (scenario, target)]
                names = dict.fromkeys(name for values in rounds for name in values)
                targets[target] = {n: median(values[n] for values in rounds if n in values) for n in names}
        return figures

    def disturbed(self) -> list[Measurement]:
        """Measurements in which others took part of the gateway's core, or the stub could not keep its own pace."""
        limits = {"others": QUIET_CORE, "stub_drift_p99_us": QUIET_STUB_US}
        return [
            each
            for each in self._measurements
            if any(each.values.get(name, 0.0) > limit for name, limit in limits.items())
        ]

    def rest(self, target: str) -> float | None:
        """Median resident MiB right after the start."""
        return median(self._rest[target]) if self._rest.get(target) else None

    def paired(
        self, combine: Callable[[float, float], float | None], figure: str, one: tuple[str, str], other: tuple[str, str]
    ) -> float | None:
        """Median over the rounds of combine(figure of one, figure of the other); each is a (scenario, target)."""
        results = []
        for number in self._rounds:
            a, b = self._by_key.get((*one, number), {}), self._by_key.get((*other, number), {})
            if figure in a and figure in b:
                result = combine(a[figure], b[figure])
                if result is not None:
                    results.append(result)
        return median(results) if results else None

    def ratio(self, scenario: str, target: str, base: str, figure: str = "rate") -> float | None:
        return self.paired(_quotient, figure, (scenario, target), (scenario, base))

    def added(self, scenario: str, target: str, figure: str) -> float | None:
        """What a target adds to the direct path, in microseconds."""
        return self.paired(lambda a, b: a - b, figure, (scenario, target), (scenario, "direct"))

    def median_of(self, scenario: str, target: str, figure: str) -> float | None:
        return self.medians().get(scenario, {}).get(target, {}).get(figure)

    def verdicts(self, target: str = "ours") -> list[Verdict]:
        """The goals of the gateway (issue 2, "Speed and memory"), in the order of the issue."""
        added, ratio, value = self.added, self.ratio, self.median_of
        p50 = _quotient(added("c1", target, "p50_us"), added("c1", "nginx", "p50_us"))
        translated = [
            self.paired(_quotient, "rate", (f"c32-{dialect}", target), ("c32", target))
            for dialect in ("anthropic", "ollama")
        ]
        slowed = self.paired(
            lambda a, b: a - b, "late_p99_us", ("streams-500-slow-reader", target), ("streams-500", target)
        )
        return [
            Verdict("requests/s at c=32, x nginx", ratio("c32", target, "nginx"), 0.40, True),
            Verdict("requests/s at c=32, x LiteLLM", ratio("c32", target, "litellm"), 300, True),
            Verdict("added p50 at c=1, x nginx's", p50, 2.0, False),
            Verdict("3,000 streams: chunks on time", value("streams-3000", target, "on_time"), 0.999, True),
            Verdict("500 streams: CPU per chunk, x nginx", ratio("streams-500", target, "nginx", "cpu_us"), 1.4, False),
            Verdict("500 streams: added lateness p99, us", added("streams-500", target, "late_p99_us"), 2000, False),
            Verdict("500 streams: added TTFT p50, us", added("streams-500", target, "ttft_p50_us"), 1000, False),
            Verdict("3,000 streams: kB per stream", value("streams-3000", target, "kb_per_stream"), 12, False),
            Verdict("slow readers held back (of 2)", value("streams-500-slow-reader", target, "held_back"), 2, True),
            Verdict("lateness p99 they cost others, us", slowed, 2000, False),
            Verdict("translated rate, Anthropic client, x relayed", translated[0], 0.5, True),
            Verdict("translated rate, Ollama client, x relayed", translated[1], 0.5, True),
            Verdict("resident MiB at rest", self.rest(target), 150, False),
        ]

    def ratios(self, targets: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
        """For each rate scenario and target: requests/s and CPU against nginx and LiteLLM of the same round."""
        out: dict[str, dict[str, dict[str, float]]] = {}
        for scenario, measured in self.medians().items():
            for target in targets:
                if target not in measured:
                    continue
                found = {
                    f"{figure}_x_{base}": self.ratio(scenario, target, base, figure)
                    for base in ("nginx", "litellm")
                    for figure in ("rate", "cpu_us")
                }
                found |= {
                    f"added_{f}": self.added(scenario, target, f) for f in ("p50_us", "ttft_p50_us", "late_p99_us")
                }
                out.setdefault(scenario, {})[target] = {k: v for k, v in found.items() if v is not None}
        return out


def _quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
