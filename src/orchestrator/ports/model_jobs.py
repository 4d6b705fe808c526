"""Where model jobs are kept, so that they outlive the process that runs them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs: all whose fields are as given here; empty is any."""

    statuses: frozenset[JobStatus] = frozenset()
    kind: JobKind | None = None
    node: str = ""
    model: str = ""


class Hold(StrEnum):
    """What the runner of a job learns when it writes."""

    HELD = "held"
    CANCELLING = "cancelling"  # somebody wants it to end
    LOST = "lost"  # another process runs it, or it has ended: nothing was written


class ModelJobStore(Protocol):
    """Jobs, and which process runs each until when. `until`, `now` and `before` are seconds since the epoch."""

    async def add(self, job: ModelJob, owner: str, until: float) -> None:
        """A new job, run by `owner`. `Conflict` for an id that exists."""

    async def get(self, job_id: str) -> ModelJob | None: ...

    async def list(self, query: JobQuery, limit: int, offset: int = 0) -> tuple[tuple[ModelJob, ...], int]:
        """A page, newest first, and how many match in all."""

    async def claim(self, owner: str, now: float, until: float) -> tuple[ModelJob, ...]:
        """Takes over every job that has not ended and that nobody holds any more."""

    async def save(self, job: ModelJob, owner: str, until: float) -> Hold:
        """Writes a job's state down and holds it until then, unless it is no longer the owner's."""

    async def cancel(self, job_id: str) -> bool:
        """Asks the runner to end a job. False for one that is unknown or has ended."""

    async def prune(self, before: float) -> int:
        """Deletes the jobs that ended before; how many."""
