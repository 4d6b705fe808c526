"""Containers that live for one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """`name` is unique. `stdin` is all that it reads. `memory` and `output` (of standard output) in bytes, `ends_at` in
    seconds since the epoch: whoever finds it later may remove it."""

    name: str
    image: str
    command: tuple[str, ...]
    stdin: bytes
    ends_at: float
    environment: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    network: bool = False
    memory: int = 512 << 20
    cpus: float = 1.0
    pids: int = 128
    read_only: bool = True
    output: int = 8 << 20


@dataclass(frozen=True, slots=True)
class ContainerEnded:
    """`stderr` is the end of it. `cut`: it wrote more than it may, so it was ended."""

    status: int
    stdout: bytes
    stderr: bytes
    cut: bool = False
    out_of_memory: bool = False


class Containers(Protocol):
    async def run(self, order: ContainerOrder) -> ContainerEnded:
        """Creates, starts, feeds and removes it. It runs as nobody, without capabilities, mounts and new privileges.
        Cancelling this kills and removes it. Raises InvalidRequest for an order that cannot be, such as an image that
        is not there (none is fetched), and ToolCrashed."""

    async def sweep(self, before: float) -> int:
        """Removes those of this installation that should have ended before a time (seconds since the epoch); how many.
        Raises ToolCrashed."""

    async def close(self) -> None:
        """Ends when what was begun is removed."""
