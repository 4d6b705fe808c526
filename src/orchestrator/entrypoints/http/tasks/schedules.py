"""Schedules: tasks that are submitted by the calendar or at an interval. Times in seconds since the epoch."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.schedule import Schedule
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, check_json, described, service_of, tasks_router
from orchestrator.services.tasks.schedule_body import ScheduleBody, read_schedule

router = tasks_router("schedules")
READ, WRITE = requires(Permission.TASKS_READ), requires(Permission.TASKS_WRITE)
MOST_LISTED = 1_000
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode  # shown as they were sent
_SCHEDULE = {
    "task": "Required: the body of POST /tasks, without task_id, idempotency_key, deadline and not_before.",
    "schedule_id": "Yours; otherwise schedule_ and 12 hexadecimal digits.",
    "cron": "minute hour day month weekday, or six fields with the second first. Either this or interval.",
    "interval": "Seconds from one tick to the next, at least 1.",
    "start_at": "The first tick of an interval; now.",
    "timezone": "IANA name, for cron; UTC.",
    "catch_up": "What becomes of ticks that were missed: none, one or all; none.",
    "jitter": "A run begins up to so many seconds after its tick; 0.",
    "paused": "false.",
}


@router.get("/schedules")
async def list_schedules(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    after: Annotated[str, Query(max_length=200)] = "",
    principal: Principal = READ,
) -> Response:
    """Schedules in the order of their ids. `next` is what to give as `after` for the page that follows."""
    page = await service_of(request).schedules.page(limit, after)
    following = page[-1].id if len(page) == limit else None
    found = [view(schedule, principal) for schedule in page]
    return answer(request, {"schedules": found, "count": len(found), "next": following})


@router.post("/schedules", openapi_extra=described(_SCHEDULE))
async def create(request: Request, principal: Principal = WRITE) -> Response:
    """Adds a schedule; its tasks count as the caller's. 400 names the field; 409 for an id that exists."""
    schedule = await service_of(request).schedules.create(await _body(request), principal.id)
    audit(principal, "schedule.create", schedule.id)
    return answer(request, {"schedule_id": schedule.id, "schedule": view(schedule, principal)})


@router.get("/schedules/{schedule_id}")
async def get_schedule(request: Request, schedule_id: str, principal: Principal = READ) -> Response:
    """One schedule. `input_data` of another principal's is shown to those who may read prompts. 404."""
    return answer(request, {"schedule": view(await service_of(request).schedules.get(schedule_id), principal)})


@router.put("/schedules/{schedule_id}", openapi_extra=described(_SCHEDULE))
async def put(request: Request, schedule_id: str, principal: Principal = WRITE) -> Response:
    """Replaces the definition; counters, and `paused` unless it is given, stay. 400, 404."""
    schedule = await service_of(request).schedules.put(schedule_id, await _body(request))
    audit(principal, "schedule.change", schedule_id)
    return answer(request, {"schedule_id": schedule_id, "schedule": view(schedule, principal)})


@router.delete("/schedules/{schedule_id}")
async def delete(request: Request, schedule_id: str, principal: Principal = WRITE) -> Response:
    """Forgets a schedule; tasks that it has submitted stay. 404."""
    await service_of(request).schedules.delete(schedule_id)
    audit(principal, "schedule.delete", schedule_id)
    return answer(request, {"schedule_id": schedule_id}, message="Schedule deleted")


@router.post("/schedules/{schedule_id}/pause")
async def pause(request: Request, schedule_id: str, principal: Principal = WRITE) -> Response:
    """Submits nothing until it is resumed. 404."""
    schedule = await service_of(request).schedules.pause(schedule_id)
    audit(principal, "schedule.pause", schedule_id)
    return answer(request, {"schedule_id": schedule_id, "schedule": view(schedule, principal)})


@router.post("/schedules/{schedule_id}/resume")
async def resume(request: Request, schedule_id: str, principal: Principal = WRITE) -> Response:
    """Goes on with the next tick; those of the pause are not made up for. 404."""
    schedule = await service_of(request).schedules.resume(schedule_id)
    audit(principal, "schedule.resume", schedule_id)
    return answer(request, {"schedule_id": schedule_id, "schedule": view(schedule, principal)})


@router.post("/schedules/{schedule_id}/trigger")
async def trigger(request: Request, schedule_id: str, principal: Principal = WRITE) -> Response:
    """A run now, beside the ticks. With the header Idempotency-Key the same key is the same run. 404, 503."""
    key = request.headers.get("idempotency-key", "")
    task_id = await service_of(request).schedules.trigger(schedule_id, key)
    audit(principal, "schedule.trigger", schedule_id)
    return answer(request, {"schedule_id": schedule_id, "task_id": task_id}, message="Task submitted successfully")


@router.get("/schedules/{schedule_id}/next")
async def coming(
    request: Request,
    schedule_id: str,
    count: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 10,
    principal: Principal = READ,
) -> Response:
    """The next ticks, without the jitter, as if it were not paused. 404."""
    ticks = await service_of(request).schedules.coming(schedule_id, count)
    return answer(request, {"schedule_id": schedule_id, "next": ticks})


async def _body(request: Request) -> ScheduleBody:
    raw = await request.body()
    if not raw:
        raise InvalidRequest("No schedule data provided")
    check_json(request)
    return read_schedule(raw)


def view(schedule: Schedule, principal: Principal) -> dict[str, Any]:
    task = _fields(schedule.task)
    if schedule.principal != principal.id and not allowed(principal, Permission.PROMPTS_READ):
        task = {name: value for name, value in task.items() if name != "input_data"}
    return {
        "schedule_id": schedule.id,
        "cron": schedule.cron or None,
        "interval": schedule.every,
        "start_at": schedule.anchor if schedule.every is not None else None,
        "timezone": schedule.zone,
        "catch_up": schedule.catch_up.value,
        "jitter": schedule.jitter,
        "paused": schedule.paused,
        "task": task,
        "principal": schedule.principal,
        "created_at": schedule.created_at,
        "next_run_at": schedule.next_run_at,
        "last_run_at": schedule.last_run_at,
        "last_task_id": schedule.last_task or None,
        "last_error": schedule.last_error or None,
        "runs": schedule.runs,
        "failures": schedule.failures,
        "missed": schedule.missed,
    }
