"""Every change of a task, as a function of the task and the moment. Raises Conflict where a change cannot happen.

`now` is seconds since the epoch, `rand` in [0, 1).
"""

from __future__ import annotations

from orchestrator.domain.errors import Conflict
from orchestrator.domain.storable import plain_text
from orchestrator.domain.task.state import (
    ACTIVE,
    ASSIGN,
    COMPLETED,
    QUEUED,
    READY,
    RELEASE,
    START,
    SUCCEED,
    WAITING,
    TaskEvent,
    TaskState,
    after,
)
from orchestrator.domain.task.task import NOBODY, OnDependencyFailure, Task, TaskSpec

MAX_ERROR = 4_000  # characters; what nodes say is kept whatever it is, or the task could never end


def submitted(spec: TaskSpec, owner: str, unfinished: frozenset[str], now: float) -> Task:
    """A new task: queued, or waiting for others or for its time."""
    waits = _waits(spec, unfinished, now)
    wake_at = spec.not_before if waits else None
    return Task(spec, WAITING if waits else QUEUED, owner=owner, waiting_for=unfinished, wake_at=wake_at)


def _waits(spec: TaskSpec, unfinished: frozenset[str], now: float) -> bool:
    return bool(unfinished) or (spec.not_before is not None and spec.not_before > now)


def assign(task: Task, node: str, now: float) -> Task:
    """A new attempt on a node, with a new fencing token."""
    state = after(task.state, ASSIGN)
    following = task.following(state)
    following.node = node
    following.attempt = task.attempt + 1
    following.assigned_at = now
    following.started_at = following.wake_at = following.progress = None
    return following


def start(task: Task, now: float) -> Task:
    """The node has accepted the attempt."""
    following = task.following(after(task.state, START))
    following.started_at = now
    return following


def report(task: Task, progress: float | None, note: str) -> Task:
    """What the node says while it works."""
    if task.state not in ACTIVE:
        raise Conflict(f"a task that is {task.state} makes no progress")
    following = task.following(task.state)
    following.progress = task.progress if progress is None else progress
    following.note = plain_text(note, MAX_ERROR) or task.note
    return following


def succeed(task: Task, now: float, result: bytes | None, *, agent: str = "", performance: bytes | None = None) -> Task:
    following = task.following(after(task.state, SUCCEED))
    following.finished_at = now
    following.started_at = task.started_at or task.assigned_at
    following.result = result
    following.agent = plain_text(agent)
    following.performance = performance
    following.error = ""
    following.progress = 1.0 if task.progress is not None else None
    return following


def fail(task: Task, now: float, reason: str, rand: float, *, final: bool = False) -> Task:
    """The attempt failed: another follows after a pause, unless there have been enough or the reason is `final`."""
    return _failed(task, now, reason, rand, TaskEvent.FAIL, final)


def expire(task: Task, now: float, rand: float) -> Task:
    """The attempt took longer than the task's timeout."""
    return _failed(task, now, f"timed out after {task.spec.timeout:g} s", rand, TaskEvent.EXPIRE, False)


def lose_node(task: Task, now: float) -> Task:
    """The node of the attempt is gone: the task is queued again at once, and the attempt counts."""
    if task.state not in ACTIVE:
        raise Conflict(f"a task that is {task.state} has no node")
    if task.retries >= task.spec.max_retries:
        reason = f"Node {task.node} failed, max retries exceeded"
        return _end(task, after(task.state, TaskEvent.FAIL), now, reason)
    state = after(task.state, RELEASE)
    following = task.following(state)
    following.retries = task.retries + 1
    following.node = ""
    following.error = f"Node {task.node} failed"
    return following


def release(task: Task) -> Task:
    """The attempt did not begin, and nobody is to blame: the task is queued again."""
    following = task.following(after(task.state, RELEASE))
    following.node = ""
    return following


def wake(task: Task) -> Task:
    """What it waited for is there."""
    following = task.following(after(task.state, READY))
    following.wake_at = None
    following.waiting_for = NOBODY
    return following


def parent_finished(task: Task, parent: Task, now: float) -> Task:
    """A task that this one waits for has finished."""
    if task.state is not WAITING or parent.id not in task.waiting_for:
        return task
    if parent.state is not COMPLETED and task.spec.on_dependency_failure is OnDependencyFailure.FAIL:
        reason = f"dependency {parent.id} is {parent.state}"
        return _end(task, after(task.state, TaskEvent.FAIL), now, reason)
    left = task.waiting_for - {parent.id}
    if left or (task.wake_at is not None and task.wake_at > now):
        following = task.following(task.state)
        following.waiting_for = left
        return following
    return wake(task)


def miss_deadline(task: Task, now: float) -> Task:
    return _end(task, after(task.state, TaskEvent.FAIL), now, "the deadline has passed")


def cancel(task: Task, now: float, reason: str = "") -> Task:
    return _end(task, after(task.state, TaskEvent.CANCEL), now, reason or "cancelled")


def replay(task: Task, owner: str, unfinished: frozenset[str], now: float) -> Task:
    """A finished task from the start: it waits for others, and for its time, as when it was new. Its attempts go on
    counting: an old node's late word is still refused."""
    waits = _waits(task.spec, unfinished, now)
    return Task(
        task.spec,
        after(task.state, TaskEvent.REPLAY_LATER if waits else TaskEvent.REPLAY),
        task.version + 1,
        owner=owner,
        waiting_for=unfinished,
        wake_at=task.spec.not_before if waits else None,
        attempt=task.attempt,
        replays=task.replays + 1,
    )


def due(task: Task) -> float | None:
    """When a task must be looked at next: the end of its pause, of its attempt, or its deadline."""
    moment = task.spec.deadline
    if not task.waiting_for:  # while it waits for others, its own time changes nothing
        moment = _earlier(moment, task.wake_at)
    begun = task.started_at or task.assigned_at
    if begun is not None and task.state in ACTIVE:
        moment = _earlier(moment, begun + task.spec.timeout)
    return moment


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _failed(task: Task, now: float, reason: str, rand: float, event: TaskEvent, final: bool) -> Task:
    last = final or task.retries >= task.spec.max_retries
    pause = task.spec.backoff.delay(task.retries + 1, rand)
    if not last and (task.spec.deadline is None or now + pause < task.spec.deadline):
        following = task.following(after(task.state, TaskEvent.RETRY))
        following.retries = task.retries + 1
        following.wake_at = now + pause
        following.error = plain_text(reason, MAX_ERROR)
        return following
    return _end(task, after(task.state, event), now, reason)


def _end(task: Task, state: TaskState, now: float, reason: str) -> Task:
    following = task.following(state)
    following.finished_at = now
    following.error = plain_text(reason, MAX_ERROR)
    following.wake_at = None
    following.waiting_for = NOBODY
    return following
