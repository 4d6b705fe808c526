"""Model jobs in memory."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.errors import Conflict
from orchestrator.domain.model_job import ModelJob
from orchestrator.domain.storable import check_storable
from orchestrator.ports.model_jobs import Hold, JobQuery


@dataclass(slots=True)
class _Held:
    job: ModelJob
    owner: str
    until: float
    cancelling: bool = False


class MemoryModelJobs:
    """`ModelJobStore` in a dict."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Held] = {}

    async def add(self, job: ModelJob, owner: str, until: float) -> None:
        check_storable(job, job.id, job.node)
        if job.id in self._jobs:
            raise Conflict("a row with the same unique value exists")
        self._jobs[job.id] = _Held(job, owner, until)

    async def get(self, job_id: str) -> ModelJob | None:
        held = self._jobs.get(job_id)
        return held.job if held is not None else None

    async def list(self, query: JobQuery, limit: int, offset: int = 0) -> tuple[tuple[ModelJob, ...], int]:
        found = [held.job for held in self._jobs.values() if _matches(held.job, query)]
        found.sort(key=lambda job: (-job.created_at, job.id))
        return tuple(found[offset : offset + limit]), len(found)

    async def claim(self, owner: str, now: float, until: float) -> tuple[ModelJob, ...]:
        free = [held for held in self._jobs.values() if not held.job.status.ended and held.until <= now]
        for held in free:
            held.owner, held.until = owner, until
        return tuple(sorted((held.job for held in free), key=lambda job: (job.created_at, job.id)))

    async def save(self, job: ModelJob, owner: str, until: float) -> Hold:
        check_storable(job, job.id, job.node)
        held = self._jobs.get(job.id)
        if held is None or held.owner != owner or held.job.status.ended:
            return Hold.LOST
        held.job, held.until = job, until
        return Hold.CANCELLING if held.cancelling else Hold.HELD

    async def cancel(self, job_id: str) -> bool:
        held = self._jobs.get(job_id)
        if held is None or held.job.status.ended:
            return False
        held.cancelling = True
        return True

    async def prune(self, before: float) -> int:
        old = [one for one, held in self._jobs.items() if held.job.status.ended and (held.job.ended_at or 0) < before]
        for job_id in old:
            del self._jobs[job_id]
        return len(old)


def _matches(job: ModelJob, query: JobQuery) -> bool:
    return (
        (not query.statuses or job.status in query.statuses)
        and query.kind in (None, job.kind)
        and query.node in ("", job.node)
        and query.model in ("", job.model)
    )
