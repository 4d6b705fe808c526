"""The calls that every task makes, whichever way they come: each reads a body and makes the answer's.

What is read of a body is gone before the answer is waited for: the fewer bytes are alive, the more of them are in the
processor's caches when they are needed again.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.errors import InvalidRequest, OrchestratorError
from orchestrator.domain.task.state import VALUES
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import WorkerMode, foreign
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import said_once, written
from orchestrator.services.body_fault import UNREADABLE, unreadable, wrong
from orchestrator.services.tasks.node_body import PullBody, ReportBody, ReportsBody
from orchestrator.services.tasks.reporting import Speaks, Told
from orchestrator.services.tasks.submission import read_batch
from orchestrator.services.tasks.wire import as_report, wire

MOST_SUBMITTED = 10_000
MOST_PULLED = 1_000
LONGEST_WAIT = 30.0  # seconds that a node may wait for tasks
T = TypeVar("T")
Answer = Coroutine[Any, Any, bytes]
_pull = msgspec.json.Decoder(PullBody)
_report = msgspec.json.Decoder(ReportBody)
_reports = msgspec.json.Decoder(ReportsBody)


def taken_many(service: HttpService, principal: Principal, raw: bytes) -> Answer:
    """The answer to `submit_batch`. Raises as that is answered."""
    bodies = read_batch(raw)
    if len(bodies) > MOST_SUBMITTED:
        raise wrong("tasks", f"at most {MOST_SUBMITTED:,} at once")
    return _taken_many(service, service.tasks.intake.submit_many(bodies, principal.id))


async def _taken_many(service: HttpService, taking: Coroutine[Any, Any, list[Task | OrchestratorError]]) -> bytes:
    found = await taking
    results = [
        {"success": True, "task_id": one.id} if isinstance(one, Task) else {"success": False, "error": one.message}
        for one in found
    ]
    ids = [one.id for one in found if isinstance(one, Task)]
    return written(service, {"task_ids": ids, "results": results}, f"{len(ids)} tasks submitted")


async def pulled(service: HttpService, principal: Principal, node_id: str, raw: bytes) -> bytes:
    """The answer to `pull`. Raises as that is answered."""
    worker = service.workers.get(node_id)
    if not worker.reports_to(principal):
        raise foreign(node_id)
    body = read(_pull, raw)
    if worker.mode is not WorkerMode.PULL:
        raise InvalidRequest("This node is pushed to: register it with mode pull.", details={"field": "mode"})
    if not 1 <= body.limit <= MOST_PULLED:
        raise wrong("limit", f"from 1 to {MOST_PULLED:,}")
    if not 0 <= body.wait <= LONGEST_WAIT:
        raise wrong("wait", f"from 0 to {LONGEST_WAIT:g}")
    service.workers.alive(node_id)
    if body.running is not None:
        await service.tasks.confirm(node_id, body.running)
    tasks = await service.tasks.pull(node_id, body.limit, body.wait)
    service.workers.alive(node_id)
    return said_once(service, {"tasks": [wire(task) for task in tasks]})


async def reported(service: HttpService, principal: Principal, task_id: str, raw: bytes) -> bytes:
    """The answer to `report`. Raises as that is answered."""
    told = _told(task_id, read(_report, raw), speaks_for(service, principal))
    task: Task = await service.tasks.reporting.report(told)
    _heard(service, told)
    return written(service, {"task_id": task.id, "status": VALUES[task.state]}, "Result recorded")


def reported_many(service: HttpService, principal: Principal, raw: bytes) -> Answer:
    """The answer to `report_many`. Raises as that is answered."""
    body = read(_reports, raw)
    speaks = speaks_for(service, principal)
    results: list[dict[str, Any]] = [{}] * len(body.results)
    places: list[int] = []
    told: list[Told] = []
    for place, one in enumerate(body.results):
        try:
            told.append(_told(one.task_id or "", one, speaks))
            places.append(place)
        except OrchestratorError as error:
            results[place] = _answered(one.task_id, error)
    return _reported_many(service, results, places, told)


async def _reported_many(
    service: HttpService, results: list[dict[str, Any]], places: list[int], told: list[Told]
) -> bytes:
    """`results` for those whose `places` are not among them are there already."""
    found = await service.tasks.reporting.report_many(told)
    heard: dict[str, Told] = {}
    for number, place in enumerate(places):
        one, said = found[number], told[number]
        results[place] = _answered(said.task_id, one)
        if isinstance(one, Task):
            heard[said.node] = said
    for said in heard.values():
        _heard(service, said)
    return said_once(service, {"results": results})


def _answered(task_id: str | None, found: Task | OrchestratorError) -> dict[str, Any]:
    if isinstance(found, Task):
        return {"success": True, "task_id": found.id, "status": VALUES[found.state]}
    return {"success": False, "task_id": task_id, "error": found.message, "code": found.code}


def _told(task_id: str, body: ReportBody, speaks: Speaks | None) -> Told:
    """Raises InvalidRequest, Forbidden."""
    if not task_id:
        raise InvalidRequest("task_id is required", details={"field": "task_id"})
    node = body.node_id or ""
    if node and speaks is not None and not speaks(node):
        raise foreign(node)
    found = as_report(body)
    if found is None and body.status not in ("running", "started", "active"):
        raise wrong("status", "completed, failed, released or running")
    return Told(task_id, body.attempt, node, found, speaks)


def _heard(service: HttpService, told: Told) -> None:
    """Who reports is alive."""
    if told.node:
        service.workers.alive(told.node)


def speaks_for(service: HttpService, principal: Principal) -> Speaks | None:
    """For which nodes the principal may speak: another node's key only for those that it registered."""
    if principal.role is not Role.NODE:
        return None
    workers = service.workers.all()

    def speaks(node: str) -> bool:
        worker = workers.get(node)
        return worker is not None and worker.reports_to(principal)

    return speaks


def read(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    """A body. Raises InvalidRequest that names the field."""
    try:
        return decoder.decode(raw)
    except UNREADABLE as error:
        raise unreadable(error, raw) from None
