"""Model jobs in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import model_jobs
from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob, Progress
from orchestrator.domain.storable import check_storable, is_key
from orchestrator.ports.model_jobs import Hold, JobQuery

RUNNING = model_jobs.c.status.in_([status.value for status in JobStatus if not status.ended])


class SqlModelJobs:
    """`ModelJobStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: ModelJob, owner: str, until: float) -> None:
        check_storable(job, job.id, job.node)
        row = {**_row(job), "cancelling": False, "owner": owner, "held_until": until}
        await self._database.run(sa.insert(model_jobs), row)

    async def get(self, job_id: str) -> ModelJob | None:
        if not is_key(job_id):
            return None
        rows = await self._database.rows(sa.select(model_jobs).where(model_jobs.c.id == job_id))
        return _job(rows[0]._mapping) if rows else None

    async def list(self, query: JobQuery, limit: int, offset: int = 0) -> tuple[tuple[ModelJob, ...], int]:
        if not (is_key(query.node) and is_key(query.model)):
            return (), 0
        conditions = [
            column == wanted
            for column, wanted in (
                (model_jobs.c.kind, query.kind.value if query.kind is not None else ""),
                (model_jobs.c.node, query.node),
                (model_jobs.c.model, query.model),
            )
            if wanted
        ]
        if query.statuses:
            conditions.append(model_jobs.c.status.in_(sorted(query.statuses)))
        page = sa.select(model_jobs).where(*conditions).order_by(model_jobs.c.created_at.desc(), model_jobs.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(page.limit(limit).offset(offset))).all()
            count = sa.select(sa.func.count()).select_from(model_jobs).where(*conditions)
            total: int = (await connection.execute(count)).scalar_one()
        return tuple(_job(row._mapping) for row in rows), total

    async def claim(self, owner: str, now: float, until: float) -> tuple[ModelJob, ...]:
        take = (
            sa.update(model_jobs)
            .where(RUNNING, model_jobs.c.held_until <= now)
            .values(owner=owner, held_until=until)
            .returning(*model_jobs.c)
        )
        async with self._database.write() as connection:
            rows = (await connection.execute(take)).all()
        return tuple(sorted((_job(row._mapping) for row in rows), key=lambda job: (job.created_at, job.id)))

    async def save(self, job: ModelJob, owner: str, until: float) -> Hold:
        check_storable(job, job.id, job.node)
        write = (
            sa.update(model_jobs)
            .where(model_jobs.c.id == job.id, model_jobs.c.owner == owner, RUNNING)
            .values(**_row(job), held_until=until)
            .returning(model_jobs.c.cancelling)
        )
        async with self._database.write() as connection:
            cancelling = (await connection.execute(write)).scalar_one_or_none()
        return Hold.LOST if cancelling is None else Hold.CANCELLING if cancelling else Hold.HELD

    async def cancel(self, job_id: str) -> bool:
        if not is_key(job_id):
            return False
        ask = sa.update(model_jobs).where(model_jobs.c.id == job_id, RUNNING).values(cancelling=True)
        return await self._database.run(ask) > 0

    async def prune(self, before: float) -> int:
        return await self._database.run(sa.delete(model_jobs).where(~RUNNING, model_jobs.c.ended_at < before))


def _row(job: ModelJob) -> dict[str, Any]:
    progress = job.progress
    return {
        "id": job.id,
        "kind": job.kind.value,
        "model": job.model,
        "node": job.node,
        "candidates": list(job.candidates),
        "request": dict(job.request),
        "who": job.who,
        "status": job.status.value,
        "detail": progress.detail,
        "digest": progress.digest,
        "completed": progress.completed,
        "total": progress.total,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "tries": job.tries,
    }


def _job(row: Mapping[Any, Any]) -> ModelJob:
    return ModelJob(
        id=row["id"],
        kind=JobKind(row["kind"]),
        model=row["model"],
        created_at=row["created_at"],
        node=row["node"],
        candidates=tuple(row["candidates"]),
        request=row["request"],
        who=row["who"],
        status=JobStatus(row["status"]),
        progress=Progress(row["detail"], row["digest"], row["completed"], row["total"]),
        error=row["error"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        tries=row["tries"],
    )
