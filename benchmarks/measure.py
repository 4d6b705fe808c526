"""Runs one scenario against one started target and says what came of it."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import program
from benchmarks.fleet import StubFleet
from benchmarks.plan import Rate, Scenario, Streams
from benchmarks.process import Process, Sample
from benchmarks.prompts import Prompt
from benchmarks.targets import Running

FLOOD = {"chunks": 1_000_000, "interval_ms": 0}
SAMPLE_EVERY = 0.1
LEAST_CPU = 0.1
MIB = 1 << 20


class LoadError(Exception):
    """A load generator ended without a result, as it does when the target takes no connections."""


@dataclass(frozen=True)
class Cores:
    """Where things run: the gateway on one, stub and load generator on the other (the same where there is one only)."""

    gateway: int
    load: int


@dataclass(frozen=True)
class Measurement:
    """Figures of one target in one scenario and round; the names are explained in report.GLOSSARY."""

    scenario: str
    target: str
    round: int
    values: Mapping[str, float]
    faults: Mapping[str, int]


class Bench:
    """Everything a measurement needs besides the target: the fleet, the cores and a folder for request files."""

    def __init__(self, fleet: StubFleet, cores: Cores, folder: Path) -> None:
        self._fleet, self._cores, self._folder = fleet, cores, folder

    def measure(self, running: Running, scenario: Scenario, round_: int) -> Measurement:
        """One measurement; a load generator that breaks off is a fault of the target, not the end of the run."""
        try:
            if isinstance(scenario, Rate):
                values, faults = self._rate(running, scenario)
            else:
                values, faults = self._streams(running, scenario)
        except LoadError as error:
            values, faults = {}, {str(error): 1}
        return Measurement(scenario.name, running.target.name, round_, values, {k: v for k, v in faults.items() if v})

    def _request(self, running: Running, prompt: Prompt, name: str) -> Path:
        path = self._folder / f"{name}.http"
        path.write_bytes(prompt.wire(running.port, running.target.headers(prompt.dialect)))
        return path

    def _rate(self, running: Running, scenario: Rate) -> tuple[dict[str, float], dict[str, int]]:
        prompt = Prompt(scenario.dialect, body_bytes=scenario.body_bytes)
        command = ["--port", str(running.port), "--request", str(self._request(running, prompt, "rate"))]
        command += ["--concurrency", str(scenario.concurrency), "--expect", "stub-answer"]
        core = self._cores.gateway if scenario.one_core else self._cores.load
        self._fleet.process.pin(core)
        try:
            self._load("closed_loop", [*command, "--requests", "3000", "--seconds", "2"], core, None)
            seconds = scenario.seconds * (2 if running.target.sluggish else 1)
            limits = ["--requests", str(200_000 * seconds), "--seconds", str(seconds)]
            limits += ["--warmup", str(scenario.concurrency)]
            out, samples = self._load("closed_loop", [*command, *limits], core, running.process)
        finally:
            self._fleet.process.pin(self._cores.load)
        values = {"rate": out["rate"], **{f"{p}_us": out["latency_us"][p] for p in ("p50", "p90", "p99", "max")}}
        if samples:
            cpu = samples[-1].cpu - samples[0].cpu
            values["core"] = cpu / out["seconds"]
            values |= _cost(cpu, out["finished"]) | ({} if scenario.one_core else _others(samples))
            values["rss_mib"] = max(each.rss for each in samples) / MIB
        refused = sum(count for status, count in out["statuses"].items() if status != "200")
        return values, {"errors": out["errors"], "unexpected": out["unexpected"], "refused": refused}

    def _streams(self, running: Running, scenario: Streams) -> tuple[dict[str, float], dict[str, int]]:
        self._warm_streams(running, scenario)
        knobs = {"chunks": scenario.chunks, "interval_ms": scenario.interval_ms}
        request = self._request(running, Prompt(scenario.dialect, stream=True, knobs=knobs), "streams")
        command = ["--port", str(running.port), "--request", str(request), "--streams", str(scenario.streams)]
        command += ["--chunks", str(scenario.chunks), "--interval-ms", str(scenario.interval_ms)]
        command += ["--ramp-ms", str(scenario.ramp_ms), "--seconds", str(scenario.seconds)]
        if scenario.slow_readers:
            flood = self._request(running, Prompt(scenario.dialect, stream=True, knobs=FLOOD), "flood")
            command += ["--slow-readers", str(scenario.slow_readers), "--slow-request", str(flood)]
        out, samples = self._load("streams", command, self._cores.load, running.process, blocked=scenario.slow_readers)
        values = {
            "on_time": out["on_time"],
            "delivered": out["delivered"],
            "stub_drift_p99_us": out["stub_drift_us"]["p99"],
        }
        values |= {f"ttft_{p}_us": out["ttft_us"][p] for p in ("p50", "p99")}
        values |= {f"late_{p}_us": out["lateness_us"][p] for p in ("p50", "p99", "max")}
        if scenario.slow_readers:
            values["held_back"] = float(out["most_blocked"])
        if samples:
            values |= _stream_costs(out, samples, scenario.streams)
        broken = {name: count for name, count in out["endings"].items() if name != "clean"}
        return values, broken

    def _warm_streams(self, running: Running, scenario: Streams) -> None:
        knobs = {"chunks": 20, "interval_ms": 10}
        request = self._request(running, Prompt(scenario.dialect, stream=True, knobs=knobs), "warm")
        command = ["--port", str(running.port), "--request", str(request), "--streams", "20", "--chunks", "20"]
        self._load(
            "streams", [*command, "--interval-ms", "10", "--ramp-ms", "300", "--seconds", "5"], self._cores.load, None
        )

    def _load(
        self, name: str, options: Sequence[str], core: int, watched: Process | None, *, blocked: int = 0
    ) -> tuple[dict[str, Any], list[Sample]]:
        """Runs a load generator to its end, reading CPU and memory of the watched process meanwhile."""
        output = self._folder / f"{name}.json"
        pids = watched.tree() if watched else []
        samples, most_blocked = [watched.sample(pids)] if watched else [], 0
        load = Process([str(program(name)), *options], core=core, log=output)
        try:
            while load.running:
                time.sleep(SAMPLE_EVERY)
                if watched:
                    samples.append(watched.sample(pids))
                if blocked:
                    most_blocked = max(most_blocked, self._fleet.stats()["blocked"])
        finally:
            status = load.stop()
        if status not in (0, 3):  # 3: the target stopped taking connections; what was measured is still printed
            raise LoadError(f"{name} ended with {status}: {load.last_words()}")
        out: dict[str, Any] = json.loads(output.read_text())
        return {**out, "most_blocked": most_blocked}, samples


def _cost(cpu: float, units: int) -> dict[str, float]:
    """CPU per request or chunk; nothing where the clock's ticks of 10 ms are too coarse to tell."""
    return {"cpu_us": cpu * 1e6 / units} if units and cpu >= LEAST_CPU else {}


def _others(samples: Sequence[Sample]) -> dict[str, float]:
    """Share of the gateway's core that other processes took meanwhile: anything but a few percent spoils a figure."""
    first, last = samples[0], samples[-1]
    taken = (last.core_busy - first.core_busy) - (last.cpu - first.cpu)
    return {"others": max(0.0, taken * 1e9 / (last.at_ns - first.at_ns))}


def _stream_costs(out: Mapping[str, Any], samples: Sequence[Sample], streams: int) -> dict[str, float]:
    """CPU per chunk over the whole run, core share while all streams were open, memory per stream at the peak."""
    cpu, peak = samples[-1].cpu - samples[0].cpu, max(each.rss for each in samples)
    costs = {
        **_cost(cpu, out["received_chunks"]),
        **_others(samples),
        "rss_rest_mib": samples[0].rss / MIB,
        "rss_mib": peak / MIB,
        "kb_per_stream": (peak - samples[0].rss) / 1000 / streams,
    }
    times = [each.at_ns for each in samples]
    begin = min(bisect_left(times, out["plateau_ns"][0]), len(samples) - 1)
    end = min(bisect_left(times, out["plateau_ns"][1]), len(samples) - 1)
    if end > begin:
        costs["core"] = (samples[end].cpu - samples[begin].cpu) / ((times[end] - times[begin]) / 1e9)
    return costs
