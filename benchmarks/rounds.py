"""Goes through the plan: each measurement with a freshly started target, the targets taking turns within a scenario."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environment import UnavailableError
from benchmarks.fleet import StubFleet
from benchmarks.measure import Bench, Cores, Measurement
from benchmarks.plan import Scenario
from benchmarks.targets import Running, Target

Told = Callable[[str], None]


class Rounds:
    """A run of the plan. A target that cannot start is left out from then on, with its reason in `left_out`."""

    def __init__(self, targets: Sequence[Target], fleet: StubFleet, cores: Cores, folder: Path, tell: Told) -> None:
        self._targets, self._fleet, self._cores, self._folder, self._tell = targets, fleet, cores, folder, tell
        self._bench = Bench(fleet, cores, folder)
        self.left_out: dict[str, str] = {}
        self.rest_mib: dict[str, list[float]] = {}
        self.measurements: list[Measurement] = []

    def run(self, scenarios: Sequence[Scenario], count: int) -> None:
        for number in range(1, count + 1):
            for scenario in scenarios:
                for target in self._targets:
                    if not target.sluggish and target.name in scenario.targets:
                        self._take(target, (scenario,), number)
            for target in self._targets:
                if target.sluggish:
                    self._take(target, [each for each in scenarios if target.name in each.targets], number)

    def _take(self, target: Target, scenarios: Sequence[Scenario], number: int) -> None:
        if target.name in self.left_out or not scenarios:
            return
        try:
            with self._started(target) as running:
                for scenario in scenarios:
                    self._tell(f"round {number}: {scenario.name}: {target.name}")
                    self.measurements.append(self._bench.measure(running, scenario, number))
        except UnavailableError as error:
            self.left_out[target.name] = str(error)
            self._tell(f"left out: {error}")

    @contextmanager
    def _started(self, target: Target) -> Iterator[Running]:
        folder = self._folder / target.name
        running = Running(target, self._fleet.ports, self._cores.gateway, folder)
        try:
            if running.process is not None:
                rest = running.process.sample().rss / (1 << 20)
                self.rest_mib.setdefault(target.name, []).append(rest)
            yield running
        finally:
            running.stop()
            shutil.rmtree(folder, ignore_errors=True)
