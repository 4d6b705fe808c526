"""What nodes do with tasks: ask for them, and say what became of them."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import Forbidden, InvalidRequest, OrchestratorError
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import WorkerMode
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import JSON, answer, described, service_of, tasks_router, written
from orchestrator.services.tasks.node_body import ReportBody
from orchestrator.services.tasks.reporting import Told
from orchestrator.services.tasks.wire import as_report, wire

router = tasks_router("nodes")
REPORT = requires(Permission.NODES_REPORT)
LONGEST_WAIT = 30.0
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


class PullBody(msgspec.Struct):
    limit: int = 1
    wait: float = 20.0
    running: list[str] | None = None


class ProgressBody(msgspec.Struct):
    attempt: int
    node_id: str = ""
    progress: float | None = None
    message: str = ""
    logs: list[Any] = []  # msgspec copies it


class ReportsBody(msgspec.Struct):
    results: list[ReportBody]


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
    log lines are not kept."""
    body = _read(ProgressBody, await request.body())
    if body.progress is not None and not 0 <= body.progress <= 1:
        raise InvalidRequest("progress: from 0 to 1", details={"field": "progress"})
    service = service_of(request)
    _check_node(service, principal, body.node_id)
    lines = service.task_logs.read(body.logs, body.attempt)
    if lines and body.progress is None and not body.message:
        wanted = await service.tasks.works_on(task_id, body.attempt)
    else:
        wanted = await service.tasks.progress(task_id, body.attempt, body.progress, body.message[:4_000])
    if lines and wanted:
        await service.task_logs.append(task_id, lines)
    return answer(request, {"cancel": not wanted})


async def pulled(service: HttpService, principal: Principal, node_id: str, raw: bytes) -> bytes:
    """The answer to `pull`. Raises as that is answered."""
    worker = service.workers.get(node_id)
    if not worker.reports_to(principal):
        raise Forbidden(f"The node '{node_id}' was registered with another key.")
    body = _read(PullBody, raw)
    if worker.mode is not WorkerMode.PULL:
        raise InvalidRequest("This node is pushed to: register it with mode pull.", details={"field": "mode"})
    if not 1 <= body.limit <= 1_000 or not 0 <= body.wait <= LONGEST_WAIT:
        raise InvalidRequest(f"limit from 1 to 1000, wait from 0 to {LONGEST_WAIT:g}")
    service.workers.alive(node_id)
    if body.running is not None:
        await service.tasks.confirm(node_id, body.running)
    tasks = await service.tasks.pull(node_id, body.limit, body.wait)
    service.workers.alive(node_id)
    return written(service, {"tasks": [wire(task) for task in tasks]})


async def reported(service: HttpService, principal: Principal, task_id: str, raw: bytes) -> bytes:
    """The answer to `report`. Raises as that is answered."""
    told = _told(service, principal, task_id, _read(ReportBody, raw))
    task: Task = await service.tasks.reporting.report(told.task_id, told.attempt, told.node, told.report)
    _heard(service, told)
    return written(service, {"task_id": task.id, "status": task.state.value}, "Result recorded")


async def reported_many(service: HttpService, principal: Principal, raw: bytes) -> bytes:
    """The answer to `report_many`. Raises as that is answered."""
    body = _read(ReportsBody, raw)
    results: list[dict[str, Any]] = [{}] * len(body.results)
    places, told = [], []
    checked: set[str] = set()
    for place, one in enumerate(body.results):
        try:
            told.append(_told(service, principal, one.task_id or "", one, checked))
            places.append(place)
        except OrchestratorError as error:
            results[place] = _answered(one.task_id, error)
    heard: dict[str, Told] = {}
    for place, one, found in zip(places, told, await service.tasks.reporting.report_many(told), strict=True):
        results[place] = _answered(one.task_id, found)
        if isinstance(found, Task):
            heard[one.node] = one
    for one in heard.values():
        _heard(service, one)
    return written(service, {"results": results})


def _answered(task_id: str | None, found: Task | OrchestratorError) -> dict[str, Any]:
    if isinstance(found, Task):
        return {"success": True, "task_id": found.id, "status": found.state.value}
    return {"success": False, "task_id": task_id, "error": found.message, "code": found.code}


def _told(
    service: HttpService, principal: Principal, task_id: str, body: ReportBody, checked: set[str] | None = None
) -> Told:
    """`checked` are nodes for which the principal may speak. Raises InvalidRequest, Forbidden."""
    if not task_id:
        raise InvalidRequest("task_id is required")
    node = body.node_id or ""
    if checked is None or node not in checked:
        _check_node(service, principal, node)
    if checked is not None:
        checked.add(node)
    found = as_report(body)
    if found is None and body.status not in ("running", "started", "active"):
        raise InvalidRequest("status: completed, failed, released or running", details={"field": "status"})
    return Told(task_id, body.attempt, node, found)


def _heard(service: HttpService, told: Told) -> None:
    """Who reports is alive."""
    if told.node:
        service.workers.alive(told.node)


def _check_node(service: HttpService, principal: Principal, node: str) -> None:
    worker = service.workers.all().get(node)
    if worker is not None and not worker.reports_to(principal):
        raise Forbidden(f"The node '{node}' was registered with another key.")


def _read(kind: type[Any], raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidRequest("The body is not JSON.") from None
