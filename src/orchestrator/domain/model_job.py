"""Work on models' files that takes long: pulls, copies from another node, and creations.

A job belongs to the fleet and not to the client that asked for it: it goes on when the client leaves, and after a
restart of the service it is taken up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class JobKind(StrEnum):
    PULL = "pull"
    COPY = "copy"  # a pull of what another node has
    CREATE = "create"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a node said last: its words, and of the layer `digest` the bytes that are there, of how many."""

    detail: str = ""
    digest: str = ""
    completed: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class ModelJob:
    """One job. Times are seconds since the epoch.

    `node` is empty until a job that may run on several has been placed; `candidates` are those it may run on, none:
    all. `request` is what the node is asked besides the model's name. `tries` counts how often a node was asked.
    """

    id: str
    kind: JobKind
    model: str
    created_at: float
    node: str = ""
    candidates: tuple[str, ...] = ()
    request: Mapping[str, object] = field(default_factory=dict)
    who: str = ""
    status: JobStatus = JobStatus.QUEUED
    progress: Progress = Progress()
    error: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    tries: int = 0
