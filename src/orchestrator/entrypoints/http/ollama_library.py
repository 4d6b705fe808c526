"""Ollama's routes that change what is on disks. They act on the fleet when `models.pull_enabled` allows it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, ModelNotFound, OrchestratorError, UpstreamStatus
from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob
from orchestrator.domain.model_name import check, key_of, normalise
from orchestrator.domain.node import Dialect
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.job_states import end_of, watched
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.models import service_of
from orchestrator.entrypoints.http.ollama_models import json_body
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.node import FleetNode

router = APIRouter(tags=["ollama"], route_class=LateRoute)
WRITE = requires(Permission.MODELS_WRITE)
NDJSON = "application/x-ndjson"
NOT_HERE = (
    "This is a gateway to several servers, which does not change what is on their disks. Do it on the server, or set "
    "models.pull_enabled and name the server with ?server=ID or the header X-Server-Id."
)


@router.post("/api/pull")
async def pull(request: Request, principal: Principal = WRITE, server: str = "") -> Response:
    """400 unless `models.pull_enabled`. Pulls `model` (or `name`) as a job of the fleet: to the server that `?server=`
    or the header `X-Server-Id` names, else to the one that has most room. The answer has Ollama's progress lines,
    unless `stream` is false; the job goes on when the caller leaves."""
    service = _enabled(request)
    body = await json_body(request)
    named = _named(request, server)
    extra = {"insecure": True} if body.get("insecure") is True else {}
    job = await service.model_jobs.start(
        JobKind.PULL, _model(body), [named] if named else [], request=extra, who=principal.name
    )
    audit(principal, "model.pull", job.model, job=job.id, server=job.node)
    headers = {"X-Model-Job": job.id}
    if body.get("stream", True) is not False:
        return StreamingResponse(_lines(service, job), media_type=NDJSON, headers=headers)
    [ended] = await end_of(service, [job])
    if ended.status is not JobStatus.SUCCEEDED:
        raise UpstreamStatus(ended.error or ended.status.value, details={"jobId": job.id, "serverId": ended.node})
    return JSONResponse({"status": "success"}, headers=headers)


@router.delete("/api/delete")
async def delete(request: Request, principal: Principal = WRITE, server: str = "") -> Response:
    """400 unless `models.pull_enabled`. Deletes `model` (or `name`) from the server that `?server=` or `X-Server-Id`
    names, with its answer as it is; else from every healthy server that has it: `{status, model, servers: [id]}`, with
    `failed: {id: why}` and 502 where one would not. 404 when none has it."""
    service = _enabled(request)
    named = _named(request, server)
    if named:
        return await _passed_on(service, request, named)
    model = _model(await json_body(request))
    wanted, gone = key_of(normalise(model)), []
    failed: dict[str, str] = {}
    for node in [node for node in service.fleet.nodes.values() if node.healthy and Dialect.OLLAMA in node.dialects]:
        for name in _names_on(node, wanted):
            try:
                await service.library.change(node, "DELETE", "/api/delete", {"model": name, "name": name})
            except OrchestratorError as error:
                failed[node.id] = error.message
                continue
            await service.registry.forget_model(node.id, name)
            gone.append(node.id)
            audit(principal, "model.delete", name, server=node.id)
    if failed:
        told = {"error": "; ".join(f"{node}: {why}" for node, why in failed.items()), "failed": failed}
        return JSONResponse({**told, "model": model, "servers": gone}, 502)
    if not gone:
        raise ModelNotFound(f"model '{model}' not found")
    return JSONResponse({"status": "success", "model": model, "servers": gone})


@router.post("/api/push")
@router.post("/api/create")
@router.post("/api/copy")
@router.api_route("/api/blobs/{digest}", methods=["HEAD", "POST"])
async def library(request: Request, principal: Principal = WRITE, server: str = "") -> Response:
    """400 unless `models.pull_enabled`. Then the request goes to the node that `?server=` or the header `X-Server-Id`
    names, and its answer comes back as it is, progress lines included."""
    service = _enabled(request)
    named = _named(request, server)
    if not named:
        raise InvalidRequest("Name the server with ?server=ID or the header X-Server-Id.")
    return await _passed_on(service, request, named)


async def _passed_on(service: HttpService, request: Request, node_id: str) -> Response:
    node = service.library.keeper(node_id)
    kind = request.headers.get("content-type", "application/octet-stream")
    status, answer_kind, content = await service.library.act(
        node, request.method, request.scope["path"], {"Content-Type": kind}, await request.body()
    )
    return StreamingResponse(content, status, media_type=answer_kind)


def _enabled(request: Request) -> HttpService:
    service = service_of(request)
    if not service.settings.models.pull_enabled:
        raise InvalidRequest(NOT_HERE)
    return service


def _named(request: Request, server: str) -> str:
    return server or request.headers.get("x-server-id", "")


def _model(body: dict[str, Any]) -> str:
    given = body.get("model") or body.get("name")
    if not isinstance(given, str):
        raise InvalidRequest("model is required")
    return check(given)


def _names_on(node: FleetNode, wanted: str) -> list[str]:
    """The names by which the node has the model."""
    known = node.report.models if node.report is not None else ()
    return [entry.name for entry in known if key_of(entry.name.lower()) == wanted]


async def _lines(service: HttpService, job: ModelJob) -> AsyncIterator[bytes]:
    """Ollama's progress lines of a job; in silence the last one again, so that nothing between takes it for dead."""
    line = _line(job)
    try:
        async with aclosing(watched(service, [job])) as states:
            async for state in states:
                line = _line(state) if state is not None else line
                yield line
    except OrchestratorError as error:
        yield _encoded({"error": error.message})


def _line(job: ModelJob) -> bytes:
    progress = job.progress
    if job.status is JobStatus.SUCCEEDED:
        return _encoded({"status": "success"})
    if job.status.ended:
        return _encoded({"error": job.error or job.status.value})
    if job.error:
        return _encoded({"status": f"retrying: {job.error}"})
    told: dict[str, Any] = {"status": progress.detail or job.status.value}
    if progress.digest:
        told |= {"digest": progress.digest, "total": progress.total, "completed": progress.completed}
    return _encoded(told)


def _encoded(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"
