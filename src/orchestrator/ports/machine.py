"""The machine that the service runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Per cent, 0 to 100. `cpu` over the time since the reading before; `disk` of the file system of data_dir."""

    cpu: float
    memory: float
    disk: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change. Sizes in bytes."""

    platform: str
    platform_version: str
    python_version: str
    cpu_count: int
    memory_total: int
    disk_total: int
    hostname: str


class Machine(Protocol):
    """Never raises: what cannot be read is 0."""

    def usage(self) -> Usage:
        """At most one reading a second is made; within it the last one is given again."""
        ...

    def facts(self) -> Facts: ...

    def connections(self) -> int:
        """Network connections of this process. May take milliseconds; may run in any thread."""
        ...
