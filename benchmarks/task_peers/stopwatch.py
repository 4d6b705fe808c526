"""What every peer's script shares: its command line, its workers, and the last line that it prints."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

LONGEST = 120.0  # seconds
LOOK = 0.02
_PDEATHSIG = 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--work", action="store_true", help="be a worker")
    return parser.parse_args()


@contextmanager
def workers(commands: list[list[str]]) -> Iterator[None]:
    """Processes that end with this one."""

    def tied() -> None:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)

    here = Path(__file__).resolve().parent
    started = [
        subprocess.Popen(command, cwd=here, preexec_fn=tied, stdout=sys.stderr, start_new_session=True)
        for command in commands
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def machine_cpu() -> float:
    """CPU seconds of this run's cores since the machine's start, waiting for disks left out."""
    wanted = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in wanted:
            total += sum(int(ticks[i]) for i in (0, 1, 2, 5, 6, 7))
    return total / os.sysconf("SC_CLK_TCK")


def until(finished: Callable[[], int], tasks: int) -> None:
    """Looks until so many have finished."""
    end = time.monotonic() + LONGEST
    while finished() < tasks:
        if time.monotonic() > end:
            raise SystemExit(f"only {finished()} of {tasks} tasks finished")
        time.sleep(LOOK)


def measure(package: str, tasks: int, submit: Callable[[], None], finished: Callable[[], int]) -> None:
    """Submits while workers work, waits for the last result, and prints what it took. The workers have done something
    before: starting them does not count."""
    before, cpu, begun = finished(), machine_cpu(), time.monotonic()
    submit()
    until(lambda: finished() - before, tasks)
    seconds = time.monotonic() - begun
    told = {
        "tasks": tasks,
        "seconds": seconds,
        "machine_cpu": machine_cpu() - cpu,
        "version": metadata.version(package),
    }
    print(json.dumps(told), flush=True)
