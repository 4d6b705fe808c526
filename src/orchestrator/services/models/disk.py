"""On which node a model is to be put.

No model server says how much room its disk has. What is known: what it holds, what its operator says of it (the label
`disk_gb`, the room for models), what its memory has held at once, and how large the model is where another node has it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orchestrator.domain.node import AdminState, Dialect
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.node import FleetNode

DISK_LABEL = "disk_gb"
MEMORY_MARGIN = 1.2  # what a model needs in memory beyond its file
GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Room:
    """One node as a place for a model: `disk_free` in bytes, None where its operator has not said; `fits` whether the
    model was, or could be, in its memory as a whole, None where that is not known."""

    node: str
    used: int
    disk_free: float | None
    fits: bool | None
    jobs: int

    def rank(self, size: int) -> tuple[bool, int, int, float, str]:
        """Lower is better: known to fit in memory, fewest jobs, most room on the disk, least on it."""
        crowded = self.fits is False
        free = self.disk_free if self.disk_free is not None else 0.0
        return (crowded, self.jobs, -int(free // GIGABYTE), self.used, self.node)


def places(fleet: Fleet, model: str, candidates: Collection[str], jobs: Mapping[str, int]) -> list[Room]:
    """The nodes that can take a model now, best first. Nodes that have it come last; others without room on the
    disk, as far as that is known, are left out. `jobs` is how many pulls run on each."""
    size = known_size(fleet, model)
    having = fleet.catalogue.nodes(model)
    rooms = [
        _room(node, size, jobs.get(node.id, 0))
        for node in fleet.nodes.values()
        if node.healthy
        and Dialect.OLLAMA in node.dialects
        and node.spec.admin_state is AdminState.ACTIVE
        and (not candidates or node.id in candidates)
    ]
    possible = [room for room in rooms if room.disk_free is None or room.disk_free >= size or room.node in having]
    return sorted(possible, key=lambda room: (room.node in having, *room.rank(size)))


def known_size(fleet: Fleet, model: str) -> int:
    """Bytes on the disk of a node that has the model; 0 when none has."""
    return max((entry.size for entry in fleet.catalogue.nodes(model).values()), default=0)


def _room(node: FleetNode, size: int, jobs: int) -> Room:
    used = sum(entry.size for entry in node.report.models) if node.report is not None else 0
    told = node.spec.labels.get(DISK_LABEL, "")
    try:
        disk_free = float(told) * GIGABYTE - used if told else None
    except ValueError:
        disk_free = None
    memory = node.state.vram_total or node.state.most_held or None
    fits = memory >= size * MEMORY_MARGIN if memory is not None and size else None
    if fits is False and node.state.vram_total is None and not node.state.crowded:
        fits = None  # it never had to put a model out: what it held at once says nothing about its limit
    return Room(node.id, used, disk_free, fits, jobs)
