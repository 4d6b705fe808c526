"""Every change of a task, as a function of the task and the moment. Raises Conflict where a change cannot happen.

`now` is seconds since the epoch, `rand` in [0, 1).
"""

from __future__ import annotations

from orchestrator.domain.errors import Conflict
from orchestrator.domain.storable import plain_text
from orchestrator.domain.task.state import TaskEvent, TaskState, after
from orchestrator.domain.task.task import OnDependencyFailure, Task, TaskSpec

_PLACES = {name: place for place, name in enumerate(Task._fields)}  # `_replace` takes twice the time
_STATE, _VERSION = _PLACES["state"], _PLACES["version"]
MAX_ERROR = 4_000  # characters; what nodes say is kept whatever it is, or the task could never end


def submitted(spec: TaskSpec, owner: str, unfinished: frozenset[str], now: float) -> Task:
    """A new task: queued, or waiting for others or for its time."""
    waits = bool(unfinished) or (spec.not_before is not None and spec.not_before > now)
    state = TaskState.WAITING if waits else TaskState.QUEUED
    wake_at = spec.not_before if waits else None
    return Task(spec, state, owner=owner, waiting_for=unfinished, wake_at=wake_at)


def assign(task: Task, node: str, now: float) -> Task:
    """A new attempt on a node, with a new fencing token."""
    state = after(task.state, TaskEvent.ASSIGN)
    return _next(
        task, state, node=node, attempt=task.attempt + 1, assigned_at=now, started_at=None, wake_at=None, progress=None
    )


def start(task: Task, now: float) -> Task:
    """The node has accepted the attempt."""
    return _next(task, after(task.state, TaskEvent.START), started_at=now)


def report(task: Task, progress: float | None, note: str) -> Task:
    """What the node says while it works."""
    if not task.state.active:
        raise Conflict(f"a task that is {task.state} makes no progress")
    part = task.progress if progress is None else progress
    return _next(task, task.state, progress=part, note=plain_text(note, MAX_ERROR) or task.note)


def succeed(task: Task, now: float, result: bytes | None, *, agent: str = "", performance: bytes | None = None) -> Task:
    state = after(task.state, TaskEvent.SUCCEED)
    return _next(
        task,
        state,
        finished_at=now,
        started_at=task.started_at or task.assigned_at,
        result=result,
        agent=plain_text(agent),
        performance=performance,
        error="",
        progress=1.0 if task.progress is not None else None,
    )


def fail(task: Task, now: float, reason: str, rand: float, *, final: bool = False) -> Task:
    """The attempt failed: another follows after a pause, unless there have been enough or the reason is `final`."""
    return _failed(task, now, reason, rand, TaskEvent.FAIL, final)


def expire(task: Task, now: float, rand: float) -> Task:
    """The attempt took longer than the task's timeout."""
    return _failed(task, now, f"timed out after {task.spec.timeout:g} s", rand, TaskEvent.EXPIRE, False)


def lose_node(task: Task, now: float) -> Task:
    """The node of the attempt is gone: the task is queued again at once, and the attempt counts."""
    if not task.state.active:
        raise Conflict(f"a task that is {task.state} has no node")
    if task.retries >= task.spec.max_retries:
        reason = f"Node {task.node} failed, max retries exceeded"
        return _end(task, after(task.state, TaskEvent.FAIL), now, reason)
    state = after(task.state, TaskEvent.RELEASE)
    return _next(task, state, retries=task.retries + 1, node="", error=f"Node {task.node} failed")


def release(task: Task) -> Task:
    """The attempt did not begin, and nobody is to blame: the task is queued again."""
    return _next(task, after(task.state, TaskEvent.RELEASE), node="")


def wake(task: Task) -> Task:
    """What it waited for is there."""
    return _next(task, after(task.state, TaskEvent.READY), wake_at=None, waiting_for=frozenset())


def parent_finished(task: Task, parent: Task, now: float) -> Task:
    """A task that this one waits for has finished."""
    if task.state is not TaskState.WAITING or parent.id not in task.waiting_for:
        return task
    if parent.state is not TaskState.COMPLETED and task.spec.on_dependency_failure is OnDependencyFailure.FAIL:
        reason = f"dependency {parent.id} is {parent.state}"
        return _end(task, after(task.state, TaskEvent.FAIL), now, reason)
    left = task.waiting_for - {parent.id}
    if left or (task.wake_at is not None and task.wake_at > now):
        return _next(task, task.state, waiting_for=left)
    return wake(task)


def miss_deadline(task: Task, now: float) -> Task:
    return _end(task, after(task.state, TaskEvent.FAIL), now, "the deadline has passed")


def cancel(task: Task, now: float, reason: str = "") -> Task:
    return _end(task, after(task.state, TaskEvent.CANCEL), now, reason or "cancelled")


def replay(task: Task, owner: str) -> Task:
    """A finished task from the start. Its attempts go on counting: an old node's late word is still refused."""
    state = after(task.state, TaskEvent.REPLAY)
    return Task(task.spec, state, task.version + 1, owner=owner, attempt=task.attempt, replays=task.replays + 1)


def due(task: Task) -> float | None:
    """When a task must be looked at next: the end of its pause, of its attempt, or its deadline."""
    wake_at = None if task.waiting_for else task.wake_at  # while it waits for others, its own time changes nothing
    moments = [moment for moment in (wake_at, task.spec.deadline) if moment is not None]
    if task.state.active and task.assigned_at is not None:
        moments.append((task.started_at or task.assigned_at) + task.spec.timeout)
    return min(moments, default=None)


def _failed(task: Task, now: float, reason: str, rand: float, event: TaskEvent, final: bool) -> Task:
    last = final or task.retries >= task.spec.max_retries
    pause = task.spec.backoff.delay(task.retries + 1, rand)
    if not last and (task.spec.deadline is None or now + pause < task.spec.deadline):
        state = after(task.state, TaskEvent.RETRY)
        wake_at = now + pause
        return _next(task, state, retries=task.retries + 1, wake_at=wake_at, error=plain_text(reason, MAX_ERROR))
    return _end(task, after(task.state, event), now, reason)


def _end(task: Task, state: TaskState, now: float, reason: str) -> Task:
    error = plain_text(reason, MAX_ERROR)
    return _next(task, state, finished_at=now, error=error, wake_at=None, waiting_for=frozenset())


def _next(task: Task, state: TaskState, **changes: object) -> Task:
    values: list[object] = list(task)
    values[_STATE], values[_VERSION] = state, task.version + 1
    for name, value in changes.items():
        values[_PLACES[name]] = value
    return Task._make(values)
