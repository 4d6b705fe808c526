"""The one transition table: what may happen to a task, and what it is then."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from orchestrator.domain.errors import Conflict


class TaskState(StrEnum):
    WAITING = "waiting"  # for other tasks, or for its time
    QUEUED = "queued"  # ready: any node that suits it may have it
    ASSIGNED = "assigned"  # a node is chosen; whether it took it is not known
    RUNNING = "running"  # the node said that it works on it
    RETRYING = "retrying"  # an attempt failed; the next one waits for its time
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__  # an enum's own is written in Python, and states are looked up with every change

    @property
    def finished(self) -> bool:
        return self in FINISHED

    @property
    def active(self) -> bool:
        """Whether an attempt is under way."""
        return self in ACTIVE


# Until Python 3.12 an enum's member costs a call where it is looked up by the class, and its value another one: where
# that is done with every change of a task, these are used.
WAITING: Final = TaskState.WAITING
QUEUED: Final = TaskState.QUEUED
ASSIGNED: Final = TaskState.ASSIGNED
RUNNING: Final = TaskState.RUNNING
RETRYING: Final = TaskState.RETRYING
COMPLETED: Final = TaskState.COMPLETED
FAILED: Final = TaskState.FAILED
TIMEOUT: Final = TaskState.TIMEOUT
CANCELLED: Final = TaskState.CANCELLED
ACTIVE: Final = frozenset({ASSIGNED, RUNNING})
FINISHED: Final = frozenset({COMPLETED, FAILED, TIMEOUT, CANCELLED})
VALUES: Final = {state: state.value for state in TaskState}


class TaskEvent(StrEnum):
    """What happens to a task."""

    READY = "ready"  # the tasks it waited for are done, or its time has come
    ASSIGN = "assign"
    START = "start"
    SUCCEED = "succeed"
    RETRY = "retry"  # an attempt failed, and another is allowed
    FAIL = "fail"  # for good
    EXPIRE = "expire"  # the last attempt took too long
    RELEASE = "release"  # the attempt is taken back without blame
    CANCEL = "cancel"
    REPLAY = "replay"
    REPLAY_LATER = "replay later"  # when what it waits for is there

    __hash__ = str.__hash__


READY: Final = TaskEvent.READY
ASSIGN: Final = TaskEvent.ASSIGN
START: Final = TaskEvent.START
SUCCEED: Final = TaskEvent.SUCCEED
RELEASE: Final = TaskEvent.RELEASE


def _table() -> dict[tuple[TaskState, TaskEvent], TaskState]:
    state, event = TaskState, TaskEvent
    table = {
        (state.WAITING, event.READY): state.QUEUED,
        (state.RETRYING, event.READY): state.QUEUED,
        (state.QUEUED, event.ASSIGN): state.ASSIGNED,
        (state.ASSIGNED, event.START): state.RUNNING,
    }
    for active in (state.ASSIGNED, state.RUNNING):
        table[active, event.SUCCEED] = state.COMPLETED
        table[active, event.RETRY] = state.RETRYING
        table[active, event.EXPIRE] = state.TIMEOUT
        table[active, event.RELEASE] = state.QUEUED
    for open_state in (state.WAITING, state.QUEUED, state.ASSIGNED, state.RUNNING, state.RETRYING):
        table[open_state, event.FAIL] = state.FAILED
        table[open_state, event.CANCEL] = state.CANCELLED
    for failed in (state.FAILED, state.TIMEOUT, state.CANCELLED):
        table[failed, event.REPLAY] = state.QUEUED
        table[failed, event.REPLAY_LATER] = state.WAITING
    return table


TRANSITIONS: Mapping[tuple[TaskState, TaskEvent], TaskState] = _table()


def after(state: TaskState, event: TaskEvent) -> TaskState:
    """The state that follows. Raises Conflict where nothing of the kind can happen."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise Conflict(f"a task that is {state} cannot {event}", details={"state": state.value, "event": event.value})
    return following
