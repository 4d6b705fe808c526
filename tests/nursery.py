"""Processes of the service, born with everything imported.

Importing the service takes two seconds of a core, and the tests start it hundreds of times. So each process of the test
session has a nursery, which imports it once; every service is a fork of that, with arguments, environment and output of
its own. What runs in it is what `python -m orchestrator` runs.

    python tests/nursery.py FD         the socket at FD brings one order a line and hears of births and deaths
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FAILPOINTS = "orchestrator.testing.failpoints"


# On the side of the tests


class Born:
    """A process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("orchestrator", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """One per process; it ends with it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._mine, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=dict(environ))
        self._turn = threading.Lock()
        self._born: Born | None = None
        self._answered = threading.Event()
        self._living: dict[int, Born] = {}
        threading.Thread(target=self._hear, daemon=True).start()

    def start(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> Born:
        """`arguments` are those of Python: `-m`, a module, and the module's."""
        order = {"arguments": list(arguments), "environ": dict(environ), "log": str(log)}
        with self._turn:
            self._answered.clear()
            self._mine.sendall(json.dumps(order).encode() + b"\n")
            if not self._answered.wait(120) or self._born is None:
                raise RuntimeError("the nursery does not answer")
            return self._born

    def _hear(self) -> None:
        for line in self._mine.makefile("rb"):
            told = json.loads(line)
            if "status" not in told:
                self._born = self._living[told["pid"]] = Born(told["pid"])
                self._answered.set()
            else:
                gone = self._living.pop(told["pid"])
                gone.returncode = told["status"]
                gone.ended.set()


# In the nursery


def run(order: dict[str, Any]) -> None:
    """The life of a new process."""
    os.environ.clear()
    os.environ.update(order["environ"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _, module, *arguments = order["arguments"]
    sys.argv = [module, *arguments]
    status: Any = 0
    try:
        if module == FAILPOINTS:
            from orchestrator.testing.failpoints.command import main as with_failpoint

            status = with_failpoint(arguments)
        else:
            from orchestrator.__main__ import main as plain

            plain()
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - the edge of a process
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(status)  # and not os._exit: what was registered for the end of the interpreter runs


def serve(orders: socket.socket) -> None:
    import orchestrator.__main__
    import orchestrator.bootstrap
    import orchestrator.entrypoints.cli
    import orchestrator.testing.failpoints.command  # noqa: F401 - for those to come

    bell, ringing = os.pipe()
    for end in (bell, ringing):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)
    living: set[int] = set()
    waiting = b""
    assert threading.active_count() == 1
    while True:
        ready, _, _ = select.select([orders, bell], [], [])
        if bell in ready:
            os.read(bell, 4096)
            _bury(orders, living)
        if orders in ready:
            data = orders.recv(1 << 20)
            if not data:
                break
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (orders.fileno(), bell, ringing):
                        os.close(descriptor)
                    orders.detach()
                    run(json.loads(line))
                living.add(pid)
                _tell(orders, pid=pid)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _bury(orders: socket.socket, living: set[int]) -> None:
    for pid in list(living):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            living.discard(pid)
            _tell(orders, pid=pid, status=os.waitstatus_to_exitcode(status))


def _tell(orders: socket.socket, **what: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        orders.sendall(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
