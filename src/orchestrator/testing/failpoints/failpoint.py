"""The points, and the one that is armed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from orchestrator.domain.errors import ConfigurationError

# What has just happened, or is about to, when the process ends there. `hits` counts transactions at `ledger`, calls at
# `takeover` and tasks everywhere else.
FAILPOINTS: Mapping[str, str] = {
    "ledger.before-commit": "changes of tasks wait to be written",
    "ledger.in-commit": "their transaction is under way: whether it counts is the database's to say",
    "ledger.after-commit": "it is durable, and nobody has been told",
    "submit.before-record": "a client has submitted a task, and nothing of it is written",
    "submit.before-answer": "the task is durable, and its client has not been told",
    "assign.before-record": "a node is chosen, and that is not written",
    "assign.after-record": "the attempt is durable, and the node has not heard of it",
    "carrier.before-deliver": "the attempt is about to be handed to the way to its node",
    "carrier.after-deliver": "it was handed over, and may have left the process",
    "node.before-send": "it is about to be sent to a node that is pushed to",
    "node.after-answer": "the node has answered, and nothing was made of the answer",
    "start.before-record": "a node says that it works on an attempt, and that is not written",
    "start.after-record": "it is written, and nobody has been told",
    "report.before-record": "what became of an attempt is known, and not written",
    "report.after-record": "it is durable, and the node has not been told",
    "release.before-record": "an attempt is taken back, and that is not written",
    "release.after-record": "it is durable, and the task has not been handed out again",
    "takeover.before-take": "a replica is about to look for tasks of others that are gone",
    "takeover.before-adopt": "such tasks are its own in the database, and it has not heard of them",
}


class Failpoint:
    """Ends the process, or another one, when a point is reached for the n-th time."""

    def __init__(self, name: str, hits: int = 1, kill: Callable[[str], None] | None = None) -> None:
        """`kill` is given the name when the time has come; `end` where there is none."""
        self.name = name
        self.hits = hits
        self._left = hits
        self._kill = kill or end

    @classmethod
    def of(cls, text: str, kill: Callable[[str], None] | None = None) -> Failpoint:
        """From `NAME` or `NAME:HITS`. Raises ConfigurationError."""
        name, _, hits = text.partition(":")
        if name not in FAILPOINTS:
            raise ConfigurationError(f"There is no failpoint '{name}'. There are: {', '.join(FAILPOINTS)}.")
        if not (hits or "1").isdecimal() or not int(hits or "1"):
            raise ConfigurationError(f"{text}: the hits are a whole number from 1 on")
        return cls(name, int(hits or "1"), kill)

    def reached(self, name: str, times: int = 1) -> None:
        if self.due(name, times):
            self.strike()

    def due(self, name: str, times: int = 1) -> bool:
        """Counts; whether this is the moment."""
        if name != self.name or not times or self._left <= 0:
            return False
        self._left -= times
        return self._left <= 0

    def strike(self) -> None:
        self._kill(self.name)


def end(name: str) -> NoReturn:
    """As the kernel would: no chance to tidy up. One line on standard error says why."""
    os.write(2, f"failpoint {name}: this process kills itself\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be survived")


def victim(file: Path) -> Callable[[str], None]:
    """Kills the process whose id is in a file, and goes on. One line on standard error tells the monotonic second."""

    def kill(name: str) -> None:
        process = int(file.read_text())
        os.write(2, f"failpoint {name}: kills process {process} at {time.monotonic():.6f}\n".encode())
        os.kill(process, signal.SIGKILL)

    return kill
