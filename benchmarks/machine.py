"""The conditions of a run: figures without them mean nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from benchmarks.environment import LITELLM_VERSION, UnavailableError, nginx
from benchmarks.measure import Cores
from orchestrator.services import clock


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "not found"
    return (done.stdout or done.stderr).splitlines()[0].strip()


def _versions(targets: Collection[str]) -> dict[str, str]:
    versions = {"python": platform.python_version(), "gcc": _first_line(["gcc", "-dumpfullversion"])}
    for name in ("orchestrator", "uvicorn", "uvloop", "httptools"):
        versions[name] = metadata.version(name)
    if "nginx" in targets:
        try:
            versions["nginx"] = _first_line([nginx(), "-v"]).rpartition("/")[2]
        except UnavailableError as error:
            versions["nginx"] = str(error)
    if "litellm" in targets:
        versions["litellm"] = LITELLM_VERSION
    return versions


def commit_ms(folder: Path, commits: int = 300) -> dict[str, float]:
    """What one durable commit of a small row costs there, in ms: SQLite, WAL, synchronous=FULL, a pause before each."""
    file = sqlite3.connect(folder / "commits.db", isolation_level=None)
    took: list[float] = []
    with contextlib.closing(file):
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE row (body TEXT)"):
            file.execute(statement)
        for _ in range(commits):
            time.sleep(0.001)
            begun = time.perf_counter()
            file.execute("INSERT INTO row VALUES (?)", ("x" * 300,))
            took.append((time.perf_counter() - begun) * 1000)
    cuts = statistics.quantiles(took, n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def task_conditions() -> dict[str, object]:
    """The same for the task engine, whose parts share all cores of a run. Call it after choosing them."""
    names = ("orchestrator", "uvicorn", "uvloop", "asyncpg")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": _memory_gib(),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "compiled": bool(clock.__file__.endswith(".so")),
        "versions": versions,
    }


def conditions(cores: Cores, targets: Collection[str]) -> dict[str, object]:
    """What a reader needs to judge the figures. Holds no path and no host name."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "gateway_core": cores.gateway,
        "load_core": cores.load,
        "memory_gib": _memory_gib(),
        "system": platform.system(),
        "kernel": platform.release().split("-")[0],
        "load_average_at_start": os.getloadavg()[0],
        "versions": _versions(targets),
    }
