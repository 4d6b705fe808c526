"""A process that looks after the one that serves, and begins another at once when that dies.

The watcher has imported everything, holds the listening sockets and then only waits. Each process that serves is a fork
of it, so it does not spend the seconds that imports take, and clients that connect meanwhile wait instead of being
refused.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

from orchestrator.bootstrap.run import BACKLOG, listen
from orchestrator.settings import Loaded, check_exposure

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
SHORT_LIFE = 10.0  # seconds: when one after the other dies sooner, the next begins after a pause
PAUSES = (0.1, 30.0)  # seconds: the first, and the longest; each is twice the one before
STEP = 0.05
PR_SET_PDEATHSIG = 1  # prctl(2)

Told = Callable[[str], None]


def watched(loaded: Loaded, told: Told) -> list[socket.socket]:
    """Returns in each process that is to serve, with the sockets to serve on. This process itself stays behind: it
    tells what happens, passes signals on, and raises SystemExit with the status of the last one, which ended by itself
    or was told to. Raises ConfigurationError for an address that cannot be had."""
    check_exposure(loaded.settings)
    sockets = listen(loaded.settings)
    for sock in sockets:
        sock.listen(BACKLOG)
    watcher = _Watcher()
    before = {sig: signal.signal(sig, watcher.pass_on) for sig in PASSED_ON}
    short = 0  # lives, one after the other
    while True:
        begun = time.monotonic()
        if watcher.fork():
            for sig, handler in before.items():
                signal.signal(sig, handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
            return sockets
        status = watcher.ended()
        if status >= 0 or watcher.stopping:
            sys.exit(status if status >= 0 else 128 - status)
        lived = time.monotonic() - begun
        short = 0 if lived >= SHORT_LIFE else short + 1
        told(f"The service was ended by {signal.Signals(-status).name} after {lived:.0f} s; starting again.")
        if short > 1:
            watcher.rest(min(PAUSES[0] * 2 ** min(short - 2, 10), PAUSES[1]))


class _Watcher:
    """Of one process at a time."""

    def __init__(self) -> None:
        self.stopping = False
        self._child = 0

    def pass_on(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler: what this process is told is meant for the one that serves."""
        self.stopping = self.stopping or sig != signal.SIGHUP
        if self._child:
            os.kill(self._child, sig)

    def rest(self, seconds: float) -> None:
        """Raises SystemExit when it is told to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stopping:
            time.sleep(STEP)
        if self.stopping:
            sys.exit(0)

    def fork(self) -> bool:
        """True in the new process, where the signals that are passed on are blocked."""
        gc.collect()
        gc.freeze()  # the collector would touch, and so copy, pages that are shared
        watcher = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        self._child = os.fork()
        if self._child:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return False
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # without the watcher nobody would look after it
        if os.getppid() != watcher:
            os._exit(1)
        os.setpgid(0, 0)  # a Ctrl-C reaches the watcher alone, which passes it on once
        return True

    def ended(self) -> int:
        """Waits for the end of the process: its exit status, or the signal's number below zero."""
        while True:
            process, status = os.waitpid(-1, 0)  # as process 1 of a container it has the orphans, too
            if process == self._child:
                self._child = 0
                return os.waitstatus_to_exitcode(status)
