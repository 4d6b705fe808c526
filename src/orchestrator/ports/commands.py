"""Commands that users of tools write, run where the operator says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

KEPT = 1 << 20  # bytes of standard output, and of standard error


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments. `folder` is where it runs, below the tools' folder; None: an empty folder that is
    gone afterwards. `files` are put into an empty folder first. `timeout` in seconds."""

    arguments: tuple[str, ...]
    timeout: float
    folder: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command. A status over 128 is 128 and the signal that ended it; `seconds` is measured."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    stdout_truncated: bool = False
    stderr_truncated: bool = False


class Commands(Protocol):
    """Where commands run."""

    python: str  # the interpreter's name there

    async def run(self, command: Command) -> Ended:
        """When this ends, for whatever reason, nothing that the command has started is left. Raises InvalidRequest for
        a folder that is none, ToolTimeout, ToolFailed where it cannot be started."""
