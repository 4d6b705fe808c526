"""Pulling models, with placement, and the jobs that do it. Times in ms since the epoch, sizes in bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, OrchestratorError, ShuttingDown
from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.job_states import end_of, watched
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.ports.model_jobs import JobQuery

router = admin_router("models")
READ, WRITE = requires(Permission.MODELS_READ), requires(Permission.MODELS_WRITE)
SSE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MAX_NAME = 300


class Answering(Body):
    """How the answer comes: as server-sent events with `stream` (or `Accept: text/event-stream`), at once and as a job
    with `wait: false`, otherwise when all is done."""

    stream: bool = False
    wait: bool = True


class PullBody(Answering):
    model: str = Field(max_length=MAX_NAME)
    insecure: bool = False


class PlacedPullBody(PullBody):
    """`servers`: among which to choose; all when left out. `count`: on how many the model is to be."""

    servers: list[str] = Field([], max_length=10_000)
    count: int = Field(1, ge=1, le=1000)


@router.post("/models/pull", response_model=None)
async def pull(request: Request, body: PlacedPullBody, principal: Principal = WRITE) -> Response:
    """Pulls a model to the servers that have most room for it and not the model yet: those that fit it in memory, that
    pull least, whose disk (label `disk_gb`) has most room. Goes on when the caller leaves. 404 for an unknown server,
    409 when fewer than `count` are without it, 503 when no server can take it."""
    service = service_of(request)
    jobs = service.model_jobs
    extra = {"insecure": True} if body.insecure else {}
    if body.count == 1:
        started = [await jobs.start(JobKind.PULL, body.model, body.servers, request=extra, who=principal.name)]
    else:
        chosen = jobs.choose(body.model, body.servers, body.count)
        started = [
            await jobs.start(JobKind.PULL, body.model, [node], request=extra, who=principal.name) for node in chosen
        ]
    return await answered(request, principal, started, body)


@router.get("/models/jobs")
async def list_jobs(
    request: Request,
    status: Annotated[str, Query(max_length=100)] = "",
    kind: JobKind | None = None,
    server: Annotated[str, Query(max_length=200)] = "",
    model: Annotated[str, Query(max_length=MAX_NAME)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
    principal: Principal = READ,
) -> dict[str, Any]:
    """Jobs, newest first. `status` takes several, by commas: queued, running, succeeded, failed, cancelled."""
    query = JobQuery(_statuses(status), kind, server, model)
    jobs, total = await service_of(request).model_jobs.list(query, limit, offset)
    return {
        "success": True,
        "jobs": [shown(job) for job in jobs],
        "count": len(jobs),
        "total": total,
        "limit": limit,
        "offset": offset,
    }


@router.get("/models/jobs/{job_id}")
async def get_job(request: Request, job_id: str, principal: Principal = READ) -> dict[str, Any]:
    """One job. 404."""
    return {"success": True, "job": shown(await service_of(request).model_jobs.get(job_id))}


@router.get("/models/jobs/{job_id}/events")
async def follow_job(request: Request, job_id: str, principal: Principal = READ) -> StreamingResponse:
    """Server-sent events of a job, from what it is now to its end. 404."""
    service = service_of(request)
    job = await service.model_jobs.get(job_id)
    return StreamingResponse(_events(service, [job]), media_type="text/event-stream", headers=SSE)


@router.post("/models/jobs/{job_id}/cancel")
async def cancel_job(request: Request, job_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Ends a job. What the server has of the model so far stays on its disk. 404; 409 for one that has ended."""
    job = await service_of(request).model_jobs.cancel(job_id)
    audit(principal, "model.job.cancel", job.model, job=job.id, server=job.node)
    return {"success": True, "job": shown(job)}


@router.post("/models/jobs/{job_id}/retry", status_code=202)
async def retry_job(request: Request, job_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """A new job that does the same. 404; 409 while the old one runs."""
    job = await service_of(request).model_jobs.retry(job_id, principal.name)
    audit(principal, "model.job.retry", job.model, job=job.id, server=job.node)
    return {"success": True, "job": shown(job)}


async def answered(request: Request, principal: Principal, jobs: Collection[ModelJob], how: Answering) -> Response:
    """The answer to a call that began jobs: events, the jobs themselves, or what became of them."""
    service = service_of(request)
    for job in jobs:
        audit(principal, f"model.{job.kind}", job.model, job=job.id, server=job.node)
    if how.stream or "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(_events(service, jobs), media_type="text/event-stream", headers=SSE)
    if not how.wait:
        return JSONResponse({"success": True, "jobs": [shown(job) for job in jobs]}, 202)
    ended = await end_of(service, jobs)
    failed = [job for job in ended if job.status is not JobStatus.SUCCEEDED]
    if failed:
        job = failed[0]
        status = 409 if job.status is JobStatus.CANCELLED else 502
        told = {"success": False, "error": job.error or job.status.value, "serverId": job.node, "model": job.model}
        return JSONResponse({**told, "jobs": [shown(one) for one in ended]}, status)
    job = ended[0]
    message = f"Model '{job.model}' is on {', '.join(one.node for one in ended)}"
    told = {"success": True, "serverId": job.node, "model": job.model, "message": message}
    return JSONResponse({**told, "details": {"status": "success"}, "jobs": [shown(one) for one in ended]})


async def _events(service: HttpService, jobs: Collection[ModelJob]) -> AsyncIterator[bytes]:
    """`progress` whenever a job has changed, then `complete` or `error` of each; a comment in silence."""
    try:
        async with aclosing(watched(service, jobs)) as states:
            async for state in states:
                yield _event(state) if state is not None else b": quiet\n\n"
    except ShuttingDown:
        yield b'data: {"type": "end", "reason": "shutdown"}\n\n'
    except OrchestratorError as error:
        yield f"data: {json.dumps({'type': 'end', 'reason': error.message})}\n\n".encode()


def _event(job: ModelJob) -> bytes:
    kind = "progress" if not job.status.ended else "complete" if job.status is JobStatus.SUCCEEDED else "error"
    told: dict[str, Any] = {"type": kind, "serverId": job.node, "model": job.model, "jobId": job.id}
    progress = job.progress
    if kind == "progress":
        told |= {"status": progress.detail or job.status.value, "completed": progress.completed}
        told |= {"total": progress.total, "percent": _percent(job)}
        if job.error:
            told["lastError"] = job.error  # it is asked again
    elif kind == "error":
        told["error"] = job.error or job.status.value
    return f"data: {json.dumps(told)}\n\n".encode()


def shown(job: ModelJob) -> dict[str, Any]:
    """A job as the API writes it."""
    return {
        "id": job.id,
        "kind": job.kind.value,
        "model": job.model,
        "serverId": job.node or None,
        "servers": list(job.candidates),
        "status": job.status.value,
        "detail": job.progress.detail,
        "digest": job.progress.digest or None,
        "completed": job.progress.completed,
        "total": job.progress.total,
        "percent": _percent(job),
        "error": job.error or None,
        "tries": job.tries,
        "createdBy": job.who,
        "createdAt": milliseconds(job.created_at),
        "startedAt": milliseconds(job.started_at) if job.started_at is not None else None,
        "endedAt": milliseconds(job.ended_at) if job.ended_at is not None else None,
    }


def _percent(job: ModelJob) -> float | None:
    """Of the layer that is under way; null before its size is known."""
    progress = job.progress
    if job.status is JobStatus.SUCCEEDED:
        return 100.0
    return round(min(progress.completed / progress.total, 1.0) * 100, 1) if progress.total else None


def _statuses(text: str) -> frozenset[JobStatus]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return frozenset(map(JobStatus, names))
    except ValueError as error:
        known = ", ".join(status.value for status in JobStatus)
        raise InvalidRequest(f"{error}: the states of a job are {known}") from None
