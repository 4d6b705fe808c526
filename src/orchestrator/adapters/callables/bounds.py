"""Limits that the system keeps for a process; set by the process itself, before it loads what it shall call."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from orchestrator.adapters.callables.frames import Bounds

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS


def keep_within(bounds: Bounds) -> None:
    """Sets the limits, soft and hard, so that nothing in this process can raise them (but root)."""
    _end_with_parent(bounds.parent)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, bounds.open_files)
    _set(resource.RLIMIT_FSIZE, bounds.file_size)
    _set(resource.RLIMIT_CPU, bounds.cpu_seconds)
    if bounds.processes:
        _set(resource.RLIMIT_NPROC, _threads_of_user() + bounds.processes)
    _set(resource.RLIMIT_AS, bounds.memory)


def _end_with_parent(parent: int) -> None:
    """This process is killed when the service is, and gains no rights by starting programs that would give some."""
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getppid() != parent:  # it was killed before the first line above
        os.kill(os.getpid(), signal.SIGKILL)


def _set(limit: int, value: int) -> None:
    _, most = resource.getrlimit(limit)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))


def _threads_of_user() -> int:
    """The system counts all threads of the user, also those outside."""
    user, found = os.getuid(), 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if process.stat().st_uid == user:
                    found += len(os.listdir(process / "task"))
    return found
