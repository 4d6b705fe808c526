"""What a task asks of a node, and why a node does not suit it.

Tasks of one type with equal requirements are one class: the same nodes suit them, which is worked out once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_LOAD = 0.9  # load score above which a node gets nothing, unless a task allows more
PERCENT = 100.0  # `min_memory` up to here is per cent, above it MB (contract: tasks 4.3)


@dataclass(frozen=True, slots=True)
class Requirements:
    """`min_cpu` in per cent that are free; `min_memory` in per cent up to 100 and in MB above; `max_load` a load score
    (0 to 1). `preferred_nodes` are taken first while they have room; `exclude_nodes` never."""

    capabilities: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    min_cpu: float = 0.0
    min_memory: float = 0.0
    max_load: float = MAX_LOAD
    preferred_nodes: frozenset[str] = frozenset()
    exclude_nodes: frozenset[str] = frozenset()


NOTHING = Requirements()


class TaskClass:
    """Tasks that the same nodes can take. Never changes."""

    __slots__ = ("_hash", "requirements", "type")

    def __init__(self, type: str, requirements: Requirements = NOTHING) -> None:
        self.type = type
        self.requirements = requirements
        # Each task is looked up by its class some times, and working this out takes longer than the looking up.
        self._hash = hash((type, requirements))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, TaskClass) and self.type == other.type and self.requirements == other.requirements

    def __repr__(self) -> str:
        return f"TaskClass({self.type!r}, {self.requirements!r})"


class Candidate(Protocol):
    """A node as far as eligibility goes. Usages in per cent, `memory_mb` None where the node has not said."""

    @property
    def id(self) -> str: ...
    @property
    def capabilities(self) -> frozenset[str]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def cpu_usage(self) -> float: ...
    @property
    def memory_usage(self) -> float: ...
    @property
    def load_score(self) -> float: ...
    @property
    def memory_mb(self) -> float | None: ...


def never(requirements: Requirements, node: Candidate) -> str:
    """Why this node can never take the class as both are, or ''."""
    if node.id in requirements.exclude_nodes:
        return "excluded by exclude_nodes"
    missing = requirements.capabilities - node.capabilities
    if missing:
        return f"lacks capability {', '.join(sorted(missing))}"
    for name, value in requirements.labels:
        if node.labels.get(name) != value:
            return f"label {name} is not {value}"
    return ""


def not_now(requirements: Requirements, node: Candidate) -> str:
    """Why this node cannot take the class with what it does now, or ''."""
    if 100.0 - node.cpu_usage < requirements.min_cpu:
        return f"{100.0 - node.cpu_usage:g} % of the processor is free, min_cpu is {requirements.min_cpu:g}"
    free = 100.0 - node.memory_usage
    wanted = requirements.min_memory
    if wanted > PERCENT:
        if node.memory_mb is not None and node.memory_mb * free / 100.0 < wanted:
            return f"{node.memory_mb * free / 100.0:.0f} MB of memory are free, min_memory is {wanted:g}"
    elif free < wanted:
        return f"{free:g} % of the memory is free, min_memory is {wanted:g}"
    if node.load_score > requirements.max_load:
        return f"load score {node.load_score:g} is over {requirements.max_load:g}"
    return ""
