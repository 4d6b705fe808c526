"""Runs one command within limits, and leaves nothing of it behind. A program of its own that needs the standard library
only: `python -I -S launch.py ORDER`, with the order as JSON.

It is the reaper of whatever the command starts (PR_SET_CHILD_SUBREAPER), so a daemon that leaves its session is found,
too. When the command ends, or this gets SIGTERM, or its parent dies, all of them are killed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

SET_DEATH_SIGNAL, DROP_CAPABILITY, SET_SUBREAPER, SET_NO_NEW_PRIVILEGES = 1, 24, 36, 38
NOT_FOUND, NOT_ALLOWED = 127, 126  # as shells have it
MORE_PROCESSES = 128

_prctl = ctypes.CDLL(None, use_errno=True).prctl
_stopped = False


def _stop(_signal: int, _frame: object) -> None:
    global _stopped
    _stopped = True
    for child in descendants(os.getpid()):
        _kill(child)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and theirs."""
    found: list[int] = []
    for task in _listed(f"/proc/{pid}/task"):
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text()
        except OSError:
            continue
        for child in map(int, children.split()):
            found += [child, *descendants(child)]
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def threads_of_user() -> int:
    """How many threads this user has; RLIMIT_NPROC counts them all."""
    user, found = os.getuid(), 0
    for name in _listed("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    found += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return found


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


def _confine(order: dict[str, Any], processes: int) -> None:
    """Of the command's own process, before it begins."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.setsid()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, order["memory"])
    _limit(resource.RLIMIT_CPU, order["cpu_seconds"])
    _limit(resource.RLIMIT_FSIZE, order["file_size"])
    _limit(resource.RLIMIT_NOFILE, 256)
    _limit(resource.RLIMIT_NPROC, processes)
    # Without capabilities, root can neither read the memory and environment of the service nor give itself rights.
    for capability in range(64):
        _prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    _prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _begin(order: dict[str, Any]) -> int:
    processes = threads_of_user() + MORE_PROCESSES
    child = os.fork()
    if child:
        return child
    try:
        _confine(order, processes)
        os.execvpe(order["arguments"][0], order["arguments"], dict(os.environ))  # noqa: S606 - on purpose
    except FileNotFoundError:
        _say(f"{order['arguments'][0]}: not found\n")
        os._exit(NOT_FOUND)
    except BaseException as error:  # noqa: BLE001 - nothing of this process may go on
        _say(f"{order['arguments'][0]}: {error}\n")
    os._exit(NOT_ALLOWED)


def _say(words: str) -> None:
    os.write(2, words.encode("utf-8", "replace"))


def _wait(child: int) -> int:
    """The command's status. Then everything it has started is ended, and waited for."""
    status = None
    while True:
        try:
            ended, code = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if ended == child:
            status = os.waitstatus_to_exitcode(code)
        if status is not None or _stopped:
            for one in descendants(os.getpid()):
                _kill(one)
    return NOT_ALLOWED if status is None else 128 - status if status < 0 else status


def main() -> None:
    order = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until there is something to end
    signal.signal(signal.SIGTERM, _stop)
    _prctl(SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    _prctl(SET_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != order["parent"]:  # it died before this could be told
        sys.exit(NOT_ALLOWED)
    child = _begin(order)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    sys.exit(_wait(child))


if __name__ == "__main__":
    main()
