"""Reads what a client says of a schedule."""

from __future__ import annotations

import re

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.schedule import CatchUp, Schedule
from orchestrator.services.body_fault import UNREADABLE, unreadable, wrong
from orchestrator.services.tasks.submission import DEFAULTS, read_task, spec_of
from orchestrator.services.tasks.task_body import TaskBody

MOST_TEMPLATE = 1 << 20  # bytes
LEAST_INTERVAL = 1.0  # seconds
MOST_INTERVAL = 366 * 86_400.0
MOST_JITTER = 86_400.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}\Z")
_OWN = ("task_id", "idempotency_key", "deadline", "not_before")


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True):
    """See docs/reference/tasks-api.md."""

    task: msgspec.Raw = msgspec.Raw(b"")
    schedule_id: str | None = None
    cron: str = ""
    interval: float | None = None
    start_at: float | None = None
    timezone: str = "UTC"
    catch_up: CatchUp = CatchUp.NONE
    jitter: float = 0.0
    paused: bool | None = None


_decode = msgspec.json.Decoder(ScheduleBody).decode
_metadata = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


def read_schedule(raw: bytes) -> ScheduleBody:
    """Raises InvalidRequest that names the field."""
    try:
        return _decode(raw)
    except UNREADABLE as error:
        raise unreadable(error, raw) from None


def schedule_of(body: ScheduleBody, schedule_id: str, principal: str, now: float) -> Schedule:
    """A schedule that is not planned yet. Raises InvalidRequest that names the field."""
    if not _ID.match(schedule_id):
        raise wrong("schedule_id", "letters, digits and ._~- only, at most 200")
    if bool(body.cron) == (body.interval is not None):
        raise wrong("cron", "give either cron or interval")
    if body.interval is not None and not LEAST_INTERVAL <= body.interval <= MOST_INTERVAL:
        raise wrong("interval", f"from {LEAST_INTERVAL:g} to {MOST_INTERVAL:g} seconds")
    if not 0 <= body.jitter <= MOST_JITTER or (body.interval is not None and body.jitter > body.interval):
        raise wrong("jitter", f"from 0 to {MOST_JITTER:g} seconds and to the interval")
    if body.start_at is not None and (body.interval is None or not 0 <= body.start_at < 1e11):
        raise wrong("start_at", "seconds since the epoch, for an interval only")
    check_template(body.task)
    return Schedule(
        id=schedule_id,
        task=bytes(body.task),
        cron=body.cron,
        every=body.interval,
        zone=body.timezone,
        catch_up=body.catch_up,
        jitter=body.jitter,
        paused=bool(body.paused),
        principal=principal,
        created_at=now,
        anchor=now if body.start_at is None else body.start_at,
    )


def check_template(raw: msgspec.Raw) -> None:
    """Raises InvalidRequest for what could never become a task."""
    if not raw:
        raise wrong("task", "required: what POST /tasks takes")
    if len(raw) > MOST_TEMPLATE:
        raise wrong("task", f"at most {MOST_TEMPLATE >> 20} MiB")
    try:
        body = read_task(raw)
        for field in _OWN:
            if getattr(body, field) is not None:
                raise wrong(field, "cannot be the same for every run")
        spec_of(body, "task", 0, 0.0, "", "", DEFAULTS)
        bytes(raw).decode()  # what is not read of it may be anything
    except UnicodeDecodeError:
        raise wrong("task", "not UTF-8") from None
    except InvalidRequest as error:
        field = ".".join(filter(None, ("task", error.details.get("field", ""))))
        raise InvalidRequest(f"task: {error.message}", details={"field": field}) from None


def run_of(schedule: Schedule, scheduled_at: float | None) -> TaskBody:
    """The task of one run. Its metadata say which schedule and tick it belongs to, where they do not say so
    themselves. Raises InvalidRequest."""
    body = read_task(schedule.task)
    metadata = _metadata(body.metadata) or {}
    said = {"schedule_id": schedule.id, "scheduled_at": scheduled_at}
    body.metadata = msgspec.Raw(msgspec.json.encode({**said, **metadata}))
    return body
