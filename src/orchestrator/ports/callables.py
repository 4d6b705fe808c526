"""Functions that the operator names, run outside this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What the process of one call may take. `memory` is its address space and `file_size` its largest file in bytes,
    `cpu_seconds` its processor time, `processes` how many processes and threads it may start (0: no limit; never
    enforced for root), `output` bytes of the result as JSON. `environment` is added to the few variables that find
    Python and the locale; it has no others of the service's."""

    memory: int = 1 << 30
    cpu_seconds: int = 60
    open_files: int = 256
    processes: int = 0
    file_size: int = 256 << 20
    output: int = 8 << 20
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Called:
    """What became of a call: the result as JSON, or why there is none. `final`: another call would not help.
    `crashed`: the process ended before the function did."""

    result: bytes | None = None
    error: str = ""
    final: bool = False
    crashed: bool = False


class Callables(Protocol):
    async def call(self, function: str, argument: bytes, limits: ProcessLimits | None = None) -> Called:
        """Calls `module:function` with one argument (JSON). Cancelling this ends the call, whatever it does. With
        limits the call has a process of its own, the argument is an object of keyword arguments, and what the process
        has started ends with it."""

    async def close(self) -> None:
        """Ends what still runs."""
