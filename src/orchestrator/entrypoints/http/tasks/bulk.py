"""The same done to many tasks at once: cancelling them, or beginning them anew."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, described, read_body, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.task_view import states_of
from orchestrator.ports.ledger import TaskQuery
from orchestrator.services.body_fault import unreadable, wrong
from orchestrator.services.tasks.bulk import BulkAction, BulkRun, BulkState

router = tasks_router("tasks")
READ, WRITE = requires(Permission.TASKS_READ), requires(Permission.TASKS_WRITE)
LONGEST_WAIT = 30.0
MAX_TEXT = 512
_BULK = {
    "action": "cancel or retry.",
    "filter": "status, type, node, principal, and before (seconds since the epoch: submitted earlier).",
    "all": "true where the filter is empty.",
    "dry_run": "Only count; false.",
    "reason": "Kept with the cancelled tasks.",
    "wait": "Seconds (at most 30) to wait for the end; 5.",
}


class FilterBody(msgspec.Struct, forbid_unknown_fields=True):
    status: str = ""
    type: str = ""
    node: str = ""
    principal: str | None = None
    before: float | None = None

    @property
    def empty(self) -> bool:
        return not (self.status or self.type or self.node or self.principal is not None or self.before is not None)


class BulkBody(msgspec.Struct, forbid_unknown_fields=True):
    action: BulkAction
    filter: FilterBody = msgspec.field(default_factory=FilterBody)
    all: bool = False
    dry_run: bool = False
    reason: str = ""
    wait: float = 5.0


@router.post("/tasks/bulk", openapi_extra=described(_BULK))
async def begin(request: Request, principal: Principal = WRITE) -> Response:
    """Cancels the tasks of a filter, or begins them anew, a few hundred at a time and at most 1,000,000 of them. With
    `dry_run` it only counts them: `count`, which is the least there are where `exact` is false. Otherwise `bulk`: 200
    when it has ended within `wait` seconds, 202 while it goes on. Tasks that change meanwhile are `skipped`.

    400 names the field; 409 while there are too many operations under way.
    """
    bulk = service_of(request).bulk
    body = _read(await read_body(request))
    wanted = body.filter
    query = bulk.query(
        body.action,
        TaskQuery(states_of(wanted.status), wanted.type, wanted.node, wanted.principal),
        wanted.before,
    )
    if body.dry_run:
        count, exact = await bulk.count(query)
        return answer(request, {"action": body.action.value, "count": count, "exact": exact})
    reason = body.reason or f"cancelled by {principal.name}"
    run = await bulk.begin(body.action, query, reason)
    audit(principal, f"tasks.bulk.{body.action}", run.id, count=run.total, filter=msgspec.to_builtins(wanted))
    run = await bulk.wait(run.id, body.wait)
    return answer(request, {"bulk": view(run)}, status=202 if run.state is BulkState.RUNNING else 200)


@router.get("/tasks/bulk")
async def list_runs(request: Request, principal: Principal = READ) -> Response:
    """The latest operations of this process, the newest first."""
    return answer(request, {"bulk": [view(run) for run in service_of(request).bulk.all()]})


@router.get("/tasks/bulk/{bulk_id}")
async def get_run(request: Request, bulk_id: str, wait: float = 0.0, principal: Principal = READ) -> Response:
    """How far one is: `total`, `done`, `skipped`. `wait` (seconds, at most 30): answers when it has ended, or then.
    404."""
    if not 0 <= wait <= LONGEST_WAIT:
        raise wrong("wait", f"from 0 to {LONGEST_WAIT:g}")
    return answer(request, {"bulk": view(await service_of(request).bulk.wait(bulk_id, wait))})


@router.post("/tasks/bulk/{bulk_id}/stop")
async def stop(request: Request, bulk_id: str, principal: Principal = WRITE) -> Response:
    """Ends one; what is done stays done. 404."""
    run = await service_of(request).bulk.stop(bulk_id)
    audit(principal, "tasks.bulk.stop", bulk_id)
    return answer(request, {"bulk": view(run)})


def view(run: BulkRun) -> dict[str, Any]:
    return {
        "bulk_id": run.id,
        "action": run.action.value,
        "state": run.state.value,
        "total": run.total,
        "exact": run.exact,
        "done": run.done,
        "skipped": run.skipped,
        "error": run.error or None,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
    }


def _read(raw: dict[str, Any]) -> BulkBody:
    try:
        body = msgspec.convert(raw, BulkBody)
    except msgspec.ValidationError as error:
        raise unreadable(error, b"") from None
    wanted = body.filter
    if wanted.empty != body.all:
        raise wrong("filter", "which tasks? Or all: true, without a filter")
    for name in ("type", "node", "principal"):
        if len(getattr(wanted, name) or "") > MAX_TEXT:
            raise wrong(f"filter.{name}", f"at most {MAX_TEXT} characters")
    if wanted.before is not None and not 0 <= wanted.before < 1e11:
        raise wrong("filter.before", "seconds since the epoch")
    if not 0 <= body.wait <= LONGEST_WAIT:
        raise wrong("wait", f"from 0 to {LONGEST_WAIT:g}")
    return body
