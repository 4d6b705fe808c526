"""Events: which there are, what each says, and how they are written down.

An event waits as a record, a plain tuple, which costs the event loop least: its type, its moment and the values of its
fields. What is kept of events are such records too, without the names of the fields, which `FIELDS` gives: a field may
be added at the end of its list, and none may be taken away.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task

EVENTS: Mapping[str, str] = {
    "task_submitted": "A task is durable. `task_id`, `task_type`, `priority`.",
    "task_assigned": "A task was given to a node. `task_id`, `node_id`, `attempt`.",
    "task_started": "The node works on it. `task_id`, `node_id`, `attempt`.",
    "task_progress": "How far it is. `task_id`, `node_id`, `progress` (0 to 1), `message`.",
    "task_log": "It wrote log lines, `first` to `last` of them: `GET /tasks/{task_id}/logs` has their text. `task_id`, "
    "`first`, `last`.",
    "task_retrying": "An attempt failed, another one follows. `task_id`, `node_id`, `error`, `retry_count`.",
    "task_requeued": "A task waits again: its pause is over, its node gave it back or is gone, or it begins anew. "
    "`task_id`, `node_id`, `error`, `retry_count`.",
    "task_completed": "`task_id`, `node_id`, `execution_time`.",
    "task_failed": "For good; `state` failed or timeout. `task_id`, `node_id`, `error`.",
    "task_cancelled": "`task_id`, `node_id`.",
    "node_registered": "`node_id`.",
    "node_unregistered": "`node_id`.",
    "node_status": "Another status. `node_id`, `status`.",
    "node_failure": "A node no longer answers; its tasks are queued again. `node_id`, `status`.",
}
MISSED = "missed"  # a record that says that some before it are not there: why, and how many (None: unknown)
_TASK = ("task_id", "task_type")
_RUN = (*_TASK, "node_id", "attempt")
_ENDED = (*_RUN, "error", "state", "retry_count")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "task_submitted": (*_TASK, "priority"),
    "task_assigned": _RUN,
    "task_started": _RUN,
    "task_progress": (*_RUN, "progress", "message"),
    "task_log": ("task_id", "first", "last"),
    "task_retrying": _ENDED,
    "task_requeued": _ENDED,
    "task_completed": (*_RUN, "execution_time"),
    "task_failed": _ENDED,
    "task_cancelled": _ENDED,
    "node_registered": ("node_id",),
    "node_unregistered": ("node_id",),
    "node_status": ("node_id", "status"),
    "node_failure": ("node_id", "status"),
    MISSED: ("reason", "count"),
}
Record = Sequence[Any]  # type, moment, values of the fields
_BY_STATE = {
    TaskState.WAITING: "task_requeued",
    TaskState.QUEUED: "task_requeued",
    TaskState.ASSIGNED: "task_assigned",
    TaskState.RUNNING: "task_started",
    TaskState.RETRYING: "task_retrying",
    TaskState.COMPLETED: "task_completed",
    TaskState.FAILED: "task_failed",
    TaskState.TIMEOUT: "task_failed",
    TaskState.CANCELLED: "task_cancelled",
}
_PLAIN, _PACKED = b"\0", b"\1"
_PACK_FROM = 512  # bytes; less gains nothing
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[list[Any]]).decode


@dataclass(frozen=True, slots=True)
class Event:
    """`number` grows with each event of the installation; `at` is in seconds since the epoch."""

    number: int
    type: str
    at: float
    data: Mapping[str, Any]


def event(number: int, record: Record) -> Event | None:
    """None for a type of another release."""
    kind, at, *values = record
    fields = FIELDS.get(kind)
    return Event(number, kind, at, dict(zip(fields, values, strict=False))) if fields else None


def task_record(new: Task, old: Task | None, at: float) -> Record | None:
    """What is to be told of a change of a task, if anything."""
    state = new.state
    if old is None:
        return ("task_submitted", at, new.id, new.spec.of.type, new.spec.priority)
    if state is not old.state:
        kind = _BY_STATE.get(state)
    else:
        kind = "task_progress" if state is TaskState.RUNNING else None
    if kind is None:
        return None
    node = new.node or old.node or None
    if kind == "task_assigned" or kind == "task_started":
        return (kind, at, new.id, new.spec.of.type, node, new.attempt)
    if kind == "task_completed":
        return (kind, at, new.id, new.spec.of.type, node, new.attempt, new.execution_time)
    if kind == "task_progress":
        return (kind, at, new.id, new.spec.of.type, node, new.attempt, new.progress, new.note)
    return (kind, at, new.id, new.spec.of.type, node, new.attempt, new.error, state.value, new.retries)


def packed(records: Sequence[Record]) -> bytes:
    """The records as they are kept."""
    raw = _encode(records)
    return _PLAIN + raw if len(raw) < _PACK_FROM else _PACKED + zlib.compress(raw, 1)


def unpacked(body: bytes) -> list[list[Any]]:
    """The opposite."""
    return _decode(zlib.decompress(body[1:]) if body[:1] == _PACKED else body[1:])
