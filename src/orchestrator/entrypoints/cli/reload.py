"""`orchestrator start --reload`: the service in a child process, started again when a file changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import orchestrator
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import CommandFailed

LOOK = 0.5  # seconds between two looks at the files
PATIENCE = 60.0  # seconds until a child that does not stop is killed


def snapshot(config: Path | None) -> dict[str, int]:
    """Times of the last change of every source file and of the configuration, in nanoseconds, by path."""
    files = [*Path(orchestrator.__file__).parent.rglob("*.py"), *([config] if config is not None else [])]
    times: dict[str, int] = {}
    for file in files:
        try:
            times[str(file)] = file.stat().st_mtime_ns
        except OSError:
            continue  # gone between listing and looking: that is a change too
    return times


class Supervisor:
    """Runs `orchestrator start` with the same arguments until it is told to stop."""

    def __init__(self, config: Path | None, arguments: Sequence[str] | None = None) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        self._command = [sys.executable, "-m", "orchestrator", *(part for part in given if part != "--reload")]
        self._config = config
        self._stopping = threading.Event()

    def run(self) -> None:
        """Returns after SIGTERM or SIGINT. Raises CommandFailed when the child had to be killed."""
        before = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._stopping.is_set():
                self._once()
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _once(self) -> None:
        """One life of the child: until a file changes or we are told to stop."""
        seen = snapshot(self._config)
        # Its own session: a Ctrl-C reaches us alone, and we pass it on once.
        child = subprocess.Popen(self._command, start_new_session=True)  # noqa: S603 - our own command, our own arguments
        told = False
        while not self._stopping.wait(LOOK):
            now = snapshot(self._config)
            if now != seen:
                output.say(f"{changed(seen, now)} changed: starting again.")
                break
            if child.poll() is not None and not told:
                told = True
                output.say(f"The service has ended with status {child.returncode}; waiting for a change.")
        end(child)


def changed(before: dict[str, int], after: dict[str, int]) -> str:
    path = next(path for path in (*after, *before) if before.get(path) != after.get(path))
    return os.path.relpath(path)


def end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise CommandFailed(f"The service did not stop within {PATIENCE:.0f} seconds and was killed.") from None
