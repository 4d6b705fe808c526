"""Ten minutes of mixed traffic, much of it failing: memory must stay flat and nothing may stay in flight.

Run it with `python -m benchmarks.soak --minutes 10`. Writes soak.json. Exit status: 0 when all checks hold, 1 when one
does not, 2 when the orchestrator could not be started.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.environment import BUILD, RESULTS, UnavailableError, program, raise_file_limit
from benchmarks.fleet import StubFleet
from benchmarks.gateway import cores
from benchmarks.machine import conditions
from benchmarks.measure import MIB, Cores
from benchmarks.process import Process
from benchmarks.prompts import Dialect, Prompt
from benchmarks.targets import TARGETS, Running

WAVE = 6  # seconds that one wave of traffic may take
FLAT_MIB = 5.0
SETTLE = 10.0
FLAKY = "bench-flaky"


@dataclass(frozen=True)
class Traffic:
    """One kind of client within a wave; a closed loop when `streams` is 0. `fails` says what its requests are for."""

    name: str
    prompt: Prompt
    fails: bool
    concurrency: int = 2
    requests: int = 200
    streams: int = 0
    abandon_after: int = 0
    key: str | None = None

    def command(self, port: int, request: Path) -> list[str]:
        where = ["--port", str(port), "--request", str(request)]
        if not self.streams:
            limits = ["--requests", str(self.requests), "--seconds", str(WAVE - 2)]
            return [str(program("closed_loop")), *where, "--concurrency", str(self.concurrency), *limits]
        chunks, interval = self.prompt.knobs["chunks"], self.prompt.knobs["interval_ms"]
        shape = ["--streams", str(self.streams), "--chunks", str(chunks), "--interval-ms", str(interval)]
        shape += ["--abandon-after", str(self.abandon_after), "--seconds", str(WAVE)]
        return [str(program("streams")), *where, *shape]


def _plain(name: str, *, dialect: Dialect = "openai", body_bytes: int = 250) -> Traffic:
    return Traffic(name, Prompt(dialect, body_bytes=body_bytes), fails=False, requests=5000)


def _failing(name: str, model: str = FLAKY, key: str | None = None, **knobs: int) -> Traffic:
    return Traffic(name, Prompt(model=model, knobs=knobs), fails=True, key=key)


def _streaming(name: str, *, dialect: Dialect = "openai", abandon_after: int = 0, cut: int = 0) -> Traffic:
    knobs = {"chunks": 40, "interval_ms": 50, "cut": cut}
    prompt = Prompt(dialect, stream=True, model=FLAKY if cut else "bench", knobs=knobs)
    return Traffic(name, prompt, fails=bool(cut or abandon_after), streams=30, abandon_after=abandon_after)


WAVES = (
    _plain("chat"),
    _plain("chat-64KiB", body_bytes=65_536),
    _plain("messages", dialect="anthropic"),
    _plain("ollama", dialect="ollama"),
    _streaming("stream"),
    _streaming("stream-anthropic", dialect="anthropic"),
    _failing("node-503", status=503),
    _failing("node-500", status=500),
    _failing("node-429", status=429),
    _failing("client-400", status=400),
    _failing("cut-answer", cut=1),
    _failing("unknown-model", model="no-such-model"),
    _failing("wrong-key", model="bench", key="sk-wrong"),
    _failing("left-waiting", model="bench", delay_ms=60_000),
    _streaming("stream-cut", cut=10),
    _streaming("stream-abandoned", abandon_after=5),
)


@dataclass
class Tally:
    """What came of the traffic so far, and the resident memory seen on the way as (seconds, MiB)."""

    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    failing: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)

    def count(self, traffic: Traffic, out: Mapping[str, Any]) -> None:
        seen = Counter({name: int(n) for name, n in (out.get("endings") or out["statuses"]).items() if n})
        seen.update({"error": out["errors"]} if out.get("errors") else {})
        left = traffic.concurrency if not traffic.streams and "delay_ms" in traffic.prompt.knobs else 0
        seen.update({"left": left} if left else {})
        self.statuses.setdefault(traffic.name, Counter()).update(seen)
        self.failing += seen.total() if traffic.fails else 0

    def growth(self) -> float:
        """MiB gained from the second fifth of the run to the last one."""
        fifth = max(1, len(self.memory) // 5)
        early, late = self.memory[fifth : 2 * fifth] or self.memory, self.memory[-fifth:]
        return median(mib for _, mib in late) - median(mib for _, mib in early)


class Soak:
    """Waves of traffic against one orchestrator that is never restarted."""

    def __init__(self, running: Running, where: Cores, folder: Path) -> None:
        self._running, self._where, self._folder, self.tally = running, where, folder, Tally()
        self._began = time.monotonic()

    def run(self, seconds: float, console: Console) -> None:
        while (left := seconds - (time.monotonic() - self._began)) > 0:
            self._wave()
            mib = self.tally.memory[-1][1]
            console.print(
                f"{max(0, left):.0f} s to go, {self.tally.failing:,} failed on purpose, {mib:.1f} MiB", style="dim"
            )

    def _wave(self) -> None:
        loads = [(traffic, self._start(traffic)) for traffic in WAVES]
        try:
            until = time.monotonic() + 2 * WAVE
            while any(load.running for _, load in loads) and time.monotonic() < until:
                time.sleep(0.5)
                self._sample()
        finally:
            for _, load in loads:
                load.stop()
        for traffic, load in loads:
            try:
                out = json.loads((self._folder / f"{traffic.name}.json").read_text())
            except json.JSONDecodeError as error:
                raise UnavailableError(f"{traffic.name} broke off: {load.last_words()}") from error
            self.tally.count(traffic, out)

    def _start(self, traffic: Traffic) -> Process:
        headers = self._running.target.headers(traffic.prompt.dialect)
        if traffic.key:
            headers = {"Authorization": f"Bearer {traffic.key}"}
        request = self._folder / f"{traffic.name}.http"
        request.write_bytes(traffic.prompt.wire(self._running.port, headers))
        command = traffic.command(self._running.port, request)
        return Process(command, core=self._where.load, log=self._folder / f"{traffic.name}.json")

    def _sample(self) -> None:
        if self._running.process is not None:
            mib = self._running.process.sample().rss / MIB
            self.tally.memory.append((round(time.monotonic() - self._began, 1), round(mib, 2)))

    def in_flight_at_rest(self) -> int:
        """Requests the orchestrator still counts as in flight, once it had time to settle."""
        until = time.monotonic() + SETTLE
        while True:
            _, body = self._running.call("GET", "/api/orchestrator/stats")
            count: int = json.loads(body)["stats"]["inFlightRequests"]
            if count == 0 or time.monotonic() > until:
                return count
            time.sleep(0.5)

    def answers_again(self) -> bool:
        until = time.monotonic() + SETTLE
        while self._running.ask() != 200:
            if time.monotonic() > until:
                return False
            time.sleep(0.5)
        return True


def run(minutes: float, out: Path, console: Console) -> dict[str, bool]:
    """The soak and its checks by name; writes soak.json."""
    where, target = cores(), TARGETS["ours"]
    facts = conditions(where, [target.name])
    raise_file_limit()
    BUILD.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=BUILD) as name,
        StubFleet(where.load, Path(name), int(minutes * 60) + 300) as fleet,
    ):
        running = Running(target, fleet.ports, where.gateway, Path(name) / target.name)
        try:
            soak = Soak(running, where, Path(name))
            soak.run(minutes * 60, console)
            in_flight, alive = soak.in_flight_at_rest(), soak.answers_again()
        finally:
            running.stop()
    growth = soak.tally.growth()
    checks = {
        f"memory flat (grew {growth:.1f} MiB, at most {FLAT_MIB:g})": growth <= FLAT_MIB,
        f"nothing in flight afterwards ({in_flight})": in_flight == 0,
        f"at least 10,000 failing requests ({soak.tally.failing:,})": soak.tally.failing >= 10_000,
        "answers again afterwards": alive,
    }
    document = {
        "conditions": facts,
        "minutes": minutes,
        "checks": checks,
        "outcomes": soak.tally.statuses,
        "memory_mib": soak.tally.memory,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
    return checks


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of soak.json")
    options, console = parser.parse_args(arguments), Console()
    try:
        checks = run(options.minutes, options.out, console)
    except UnavailableError as error:
        console.print(f"cannot run: {error}", style="red")
        return 2
    for check, held in checks.items():
        console.print(f"{'ok    ' if held else 'FAILED'} {check}", style="green" if held else "red")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
