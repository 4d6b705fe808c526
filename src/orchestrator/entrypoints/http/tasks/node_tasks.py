"""What nodes do with tasks: ask for them, and say what became of them."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import JSON, answer, described, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.work import pulled, read, reported, reported_many, speaks_for
from orchestrator.services.body_fault import wrong
from orchestrator.services.tasks.reporting import Told

router = tasks_router("nodes")
REPORT = requires(Permission.NODES_REPORT)
_REPORT = {
    "status": "completed, failed, released (not begun: somebody else may have it) or running.",
    "result_data": "Any JSON; above 1 MiB it becomes an artifact. `result` is the same.",
    "error_message": "Why it failed.",
    "retryable": "Whether another attempt may help; true.",
    "attempt": "Which attempt, as the task said; a node that names none means the current one on it.",
    "node_id": "Who reports.",
    "execution_time": "Seconds.",
    "agent_id": "Which of the node's agents did it.",
    "performance_metrics": "An object.",
}

_PROGRESS = {
    "attempt": "Required.",
    "progress": "0 to 1.",
    "message": "What it does.",
    "logs": "At most 1,000 lines: texts, or objects with message, level and at (seconds since the epoch).",
}


class ProgressBody(msgspec.Struct):
    attempt: int
    node_id: str = ""
    progress: float | None = None
    message: str = ""
    logs: list[Any] = []  # msgspec copies it


_progress = msgspec.json.Decoder(ProgressBody)


@router.post("/nodes/{node_id}/tasks/pull", openapi_extra=described({"limit": "At most so many.", "wait": "Seconds."}))
async def pull(request: Request, node_id: str, principal: Principal = REPORT) -> Response:
    """Tasks for a node that pulls: waits up to `wait` seconds (at most 30) for the first, and gives what there is then,
    at most `limit`. `running` are the tasks that the node has: of others that it was given it never heard, and they
    are queued again. 403, 404, 409 for a node that is pushed to."""
    service = service_of(request)
    return Response(await pulled(service, principal, node_id, await request.body() or b"{}"), media_type=JSON)


@router.post("/tasks/{task_id}/result", openapi_extra=described(_REPORT))
async def report(request: Request, task_id: str, principal: Principal = REPORT) -> Response:
    """What became of an attempt; durable when the answer comes. The same report again is answered like the first. 404;
    409 for an attempt that is no longer the current one."""
    return Response(await reported(service_of(request), principal, task_id, await request.body()), media_type=JSON)


@router.post("/tasks/results", openapi_extra=described({"results": "Reports, each with its task_id."}))
async def report_many(request: Request, principal: Principal = REPORT) -> Response:
    """Many reports, in one transaction as far as they come together. `results` says for each whether it counts."""
    return Response(await reported_many(service_of(request), principal, await request.body()), media_type=JSON)


@router.post("/tasks/{task_id}/progress", openapi_extra=described(_PROGRESS))
async def progress(request: Request, task_id: str, principal: Principal = REPORT) -> Response:
    """How far a task is, and what it logs. `cancel` tells the node to stop: the attempt is no longer wanted, and its
    log lines are not kept. 403."""
    body = read(_progress, await request.body())
    if body.progress is not None and not 0 <= body.progress <= 1:
        raise wrong("progress", "from 0 to 1")
    service = service_of(request)
    await service.tasks.reporting.check(Told(task_id, body.attempt, body.node_id, None, speaks_for(service, principal)))
    lines = service.task_logs.read(body.logs, body.attempt)
    if lines and body.progress is None and not body.message:
        wanted = await service.tasks.works_on(task_id, body.attempt)
    else:
        wanted = await service.tasks.progress(task_id, body.attempt, body.progress, body.message[:4_000])
    if lines and wanted:
        await service.task_logs.append(task_id, lines)
    return answer(request, {"cancel": not wanted})
