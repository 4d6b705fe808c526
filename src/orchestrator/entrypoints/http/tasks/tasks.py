"""Tasks: submitting them, looking at them, cancelling and replaying them. Times in seconds since the epoch."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Forbidden, InvalidRequest
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.domain.task.state import TaskState
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import (
    JSON,
    answer,
    check_json,
    described,
    read_body,
    service_of,
    submitted,
    tasks_router,
)
from orchestrator.entrypoints.http.tasks.task_view import LISTS, item, list_of, states_of, summary, whole
from orchestrator.entrypoints.http.tasks.work import taken_many
from orchestrator.ports.ledger import TaskQuery
from orchestrator.services.body_fault import wrong
from orchestrator.services.tasks.submission import NOTHING, read_task

router = tasks_router("tasks")
READ, SUBMIT = requires(Permission.TASKS_READ), requires(Permission.TASKS_SUBMIT)
WRITE = requires(Permission.TASKS_WRITE)
MOST_LISTED = 1_000
LONGEST_WAIT = 30.0  # seconds
Type = Annotated[str, Path(min_length=1)]
_TASK = {
    "task_type": "Required.",
    "task_id": "Yours; otherwise task_ and 12 hexadecimal digits. The same id with the same content is the same task.",
    "priority": "1 to 5, or critical, high, normal, low, background; 3.",
    "requirements": "capabilities, labels, min_cpu, min_memory, max_load, preferred_nodes, exclude_nodes.",
    "input_data": "Any JSON, handed to the node as it is.",
    "timeout": "Seconds for one attempt; 300.",
    "max_retries": "Attempts that may follow the first; 3.",
    "backoff": "base and most: seconds between attempts, doubled from one to the next; 1 and 60.",
    "deadline": "Nothing begins after it, and what runs then fails.",
    "not_before": "Nothing begins before it.",
    "dependencies": "Ids of tasks that must complete first.",
    "on_dependency_failure": "fail, or run all the same; fail.",
    "callback_url": "Gets one POST when the task has finished.",
    "idempotency_key": "Or the header Idempotency-Key: the same key and content are the same task.",
    "metadata": "An object, handed to the node.",
}


@router.post("/tasks", openapi_extra=described(_TASK))
async def submit(request: Request, principal: Principal = SUBMIT) -> Response:
    """Takes a task in: it is durable when the answer comes. 400 names the field; 409 for an id or idempotency key of
    another task; 503 while the orchestrator is stopped or the database away."""
    service = service_of(request)
    raw = await _raw(request)
    key = request.headers.get("idempotency-key", "")
    task, new = await service.tasks.intake.submit(read_task(raw), principal.id, key)
    return Response(submitted(service.clock, task.id, new), media_type=JSON)


@router.post("/tasks/batch", openapi_extra=described({"tasks": "At most 10,000 tasks, each as for POST /tasks."}))
async def submit_batch(request: Request, principal: Principal = SUBMIT) -> Response:
    """Takes many tasks in, in one transaction. What is wrong with one does not touch the others: `results` says for
    each whether it is in. 503 while the orchestrator is stopped: none is."""
    raw = await _raw(request)
    return Response(await taken_many(service_of(request), principal, raw), media_type=JSON)


@router.get("/tasks")
async def list_tasks(
    request: Request,
    status: Annotated[str, Query(max_length=100)] = "",
    task_type: Annotated[str, Query(max_length=512)] = "",
    node_id: Annotated[str, Query(max_length=200)] = "",
    submitted_by: Annotated[str | None, Query(max_length=512)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    before: Annotated[int | None, Query(ge=0, lt=INTEGER_LIMIT)] = None,
    principal: Principal = READ,
) -> Response:
    """Tasks, newest first, in the contract's four lists: `limit` of each, or of those with `status` (pending, active,
    completed, failed, or a state). `next` is what to give as `before` for the page that follows; it costs the same on
    every page, as `offset` does not. With `before` there are `limit` of all lists together, so that a task comes once,
    even if it moves to another list meanwhile. `summary` counts all."""
    tasks = service_of(request).tasks
    wanted = states_of(status)
    groups = [wanted] if wanted or before is not None else list(LISTS.values())
    queries = [TaskQuery(group, task_type, node_id, submitted_by, before, limit, offset) for group in groups]
    counts, pages = await asyncio.gather(tasks.counts(), asyncio.gather(*map(tasks.page, queries)))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    for task in (task for page in pages for task in page):
        found[list_of(task)].append(item(task))
    # Where lists end at different numbers the greatest skips no task; what others have below it comes once more.
    ends = [page[-1].spec.seq for page in pages if len(page) == limit]
    named = {
        "tasks": found,
        "summary": summary(counts),
        "limit": limit,
        "offset": offset,
        "next": max(ends, default=None),
    }
    return answer(request, named)


@router.get("/tasks/failed")
async def list_failed(
    request: Request,
    task_type: Annotated[str, Query(max_length=512)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    principal: Principal = READ,
) -> Response:
    """The dead letters: tasks that failed for good, newest first."""
    states = frozenset({TaskState.FAILED, TaskState.TIMEOUT})
    page = await service_of(request).tasks.page(TaskQuery(states, task_type, limit=limit, offset=offset))
    return answer(request, {"tasks": [item(task) for task in page], "count": len(page)})


@router.post("/tasks/failed/replay", openapi_extra=described({"task_ids": "Which.", "task_type": "Or all of a type."}))
async def replay_failed(request: Request, principal: Principal = WRITE) -> Response:
    """Begins dead letters anew: these, those of a type, or all; at most 1,000 with one call. One that depends on a task
    that has failed and is not among them stays."""
    body = await read_body(request)
    for field in body.keys() - {"task_ids", "task_type"}:  # misspelt, it would mean all
        raise wrong(field, "only task_ids and task_type are known")
    ids, task_type = body.get("task_ids"), body.get("task_type", "")
    if "task_ids" in body and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise wrong("task_ids", "a list of ids")
    if not isinstance(task_type, str) or ("task_type" in body and not task_type):
        raise wrong("task_type", "a text")
    replayed = await service_of(request).tasks.replay_dead(ids, task_type)
    audit(principal, "tasks.replay", "", count=len(replayed))
    return answer(request, {"task_ids": [task.id for task in replayed], "count": len(replayed)})


@router.get("/tasks/types")
async def list_types(request: Request, principal: Principal = READ) -> Response:
    """The types of ready tasks, how many of each are ready, and which types are paused."""
    scheduler = service_of(request).scheduler
    ready: dict[str, int] = {}
    for of, count in scheduler.ready.by_class():
        ready[of.type] = ready.get(of.type, 0) + count
    names = sorted(ready.keys() | scheduler.paused_types)
    types = [
        {"task_type": name, "ready": ready.get(name, 0), "paused": name in scheduler.paused_types} for name in names
    ]
    return answer(request, {"types": types})


@router.post("/tasks/types/{task_type:path}/pause")
async def pause_type(request: Request, task_type: Type, principal: Principal = WRITE) -> Response:
    """Tasks of the type are taken in and wait, until it is resumed; those that run go on."""
    await service_of(request).switches.pause_type(task_type)
    audit(principal, "tasks.pause", task_type)
    return answer(request, {"task_type": task_type, "paused": True})


@router.post("/tasks/types/{task_type:path}/resume")
async def resume_type(request: Request, task_type: Type, principal: Principal = WRITE) -> Response:
    await service_of(request).switches.resume_type(task_type)
    audit(principal, "tasks.resume", task_type)
    return answer(request, {"task_type": task_type, "paused": False})


@router.get("/tasks/{task_id}")
async def get_task(
    request: Request,
    task_id: str,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
    principal: Principal = READ,
) -> Response:
    """One task with its result. What goes in and comes out of another principal's task is shown to those who may read
    prompts. With `wait` the answer comes when the task has finished, at the latest after so many seconds (up to 30).
    404; 429 when too many wait."""
    service = service_of(request)
    if wait > 0:
        await service.waits.finished(task_id, wait, service.stopping)
    task = await service.tasks.get(task_id)
    content = task.spec.principal == principal.id or allowed(principal, Permission.PROMPTS_READ)
    return answer(request, {"task": whole(task, content=content)})


@router.get("/tasks/{task_id}/explain")
async def explain(request: Request, task_id: str, principal: Principal = READ) -> Response:
    """Why a task is where it is: the reason, why each node cannot have it now, and how many go first. 404."""
    found = await service_of(request).tasks.explain(task_id)
    nodes = [
        {"node_id": node, "eligible": not reason, "reason": reason or None} for node, reason in found.nodes.items()
    ]
    named = {"task_id": task_id, "state": found.task.state.value, "reason": found.reason}
    return answer(request, {**named, "nodes": nodes, "ahead": found.ahead})


@router.post("/tasks/{task_id}/cancel", openapi_extra=described({"reason": "Kept with the task."}, required=False))
async def cancel(request: Request, task_id: str, principal: Principal = SUBMIT) -> Response:
    """Ends a task, running or not; its node is told. 404; 409 for one that has finished; 403 for another principal's
    without tasks.write."""
    tasks = service_of(request).tasks
    reason = str((await read_body(request)).get("reason") or "")
    await _check_own(request, principal, task_id)
    task = await tasks.cancel(task_id, reason or f"cancelled by {principal.name}")
    audit(principal, "task.cancel", task_id)
    return answer(request, {"task_id": task_id, "task": whole(task)}, message="Task cancelled")


@router.delete("/tasks/{task_id}")
async def delete(request: Request, task_id: str, principal: Principal = SUBMIT) -> Response:
    """The same as cancel."""
    return await cancel(request, task_id, principal)


@router.post("/tasks/{task_id}/retry")
async def retry(request: Request, task_id: str, principal: Principal = SUBMIT) -> Response:
    """Begins a task that failed, timed out or was cancelled anew. 404; 409 for any other."""
    await _check_own(request, principal, task_id)
    task = await service_of(request).tasks.replay(task_id)
    audit(principal, "task.replay", task_id)
    return answer(request, {"task_id": task_id, "task": whole(task)}, message="Task is queued again")


async def _check_own(request: Request, principal: Principal, task_id: str) -> None:
    if not allowed(principal, Permission.TASKS_WRITE):
        task = await service_of(request).tasks.get(task_id)
        if task.spec.principal != principal.id:
            raise Forbidden(f"Task '{task_id}' is another principal's.")


async def _raw(request: Request) -> bytes:
    """The body, not read yet. Raises InvalidRequest, UnsupportedMedia."""
    raw = await request.body()
    if not raw or raw.strip() == b"{}":
        raise InvalidRequest(NOTHING)
    check_json(request)
    return raw
