"""Processes under test: started on one core, measured with their children, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Sample:
    """One reading of a process tree: CLOCK_MONOTONIC ns, CPU seconds since the start, resident bytes.

    `core_busy` is what its core did for all processes together, in CPU seconds, time stolen by a hypervisor included.
    """

    at_ns: int
    cpu: float
    rss: int
    core_busy: float


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _core_busy(core: int | None) -> float:
    """Seconds of user, nice, system and stolen time; interrupts are left out, they serve whoever runs. None: of all
    cores together."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == ("cpu" if core is None else f"cpu{core}"):
            return (int(ticks[0]) + int(ticks[1]) + int(ticks[2]) + int(ticks[7])) / TICK
    return 0.0


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(_stat(int(entry))[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def own_cpu() -> float:
    """CPU seconds of this process and of all that it started, those that have ended included."""
    total = 0
    for pid in tree(os.getpid()):
        try:
            fields = _stat(pid)
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICK


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's with `extra`; compiled files are kept, as on machines that are not set up for development."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | dict(extra)


class Process:
    """A child process and its descendants, pinned to a core; without one they may run wherever their parent may."""

    def __init__(
        self, command: Sequence[str], *, core: int | None = None, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        def settle() -> None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if core is not None:
                os.sched_setaffinity(0, {core})

        self._log, self._core = log, core
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(env or {}),
                start_new_session=True,
                preexec_fn=settle,
            )

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def last_words(self) -> str:
        """The last line of its output, without paths, for the message that says why it did not start."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return re.sub(r"\(?/[\w./-]+\)?", "...", lines[-1].strip())[-300:] if lines else "no output"

    def tree(self) -> list[int]:
        return tree(self._child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    def signal(self, number: int) -> None:
        """To the process itself, not to its descendants."""
        self._child.send_signal(number)

    def pin(self, core: int) -> None:
        self._core = core
        for pid in self.tree():
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(task), {core})

    def sample(self, pids: Sequence[int] | None = None) -> Sample:
        cpu, rss = 0.0, 0
        for pid in pids or self.tree():
            try:
                fields = _stat(pid)
            except OSError:
                continue
            cpu += (int(fields[11]) + int(fields[12])) / TICK
            rss += int(fields[21]) * PAGE
        return Sample(time.monotonic_ns(), cpu, rss, _core_busy(self._core))

    def stop(self, grace: float = 10.0) -> int | None:
        """Ends the whole session of processes: politely, then for certain. Returns the exit status."""
        if self.running:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(grace)
        return self._child.returncode
