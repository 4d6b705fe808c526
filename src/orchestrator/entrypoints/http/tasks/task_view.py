"""Tasks as the tasks contract writes them. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Counts

STATUS = {
    TaskState.WAITING: "pending",
    TaskState.QUEUED: "pending",
    TaskState.RETRYING: "pending",
    TaskState.ASSIGNED: "active",
    TaskState.RUNNING: "active",
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "failed",
    TaskState.TIMEOUT: "timeout",
    TaskState.CANCELLED: "cancelled",
}
# In which of the four lists of the contract a state is found.
LISTS: dict[str, frozenset[TaskState]] = {
    "pending": frozenset({TaskState.WAITING, TaskState.QUEUED, TaskState.RETRYING}),
    "active": frozenset({TaskState.ASSIGNED, TaskState.RUNNING}),
    "completed": frozenset({TaskState.COMPLETED}),
    "failed": frozenset({TaskState.FAILED, TaskState.TIMEOUT, TaskState.CANCELLED}),
}
NO_FIELDS = b"{}"
PRIORITY_NAMES = {1: "CRITICAL", 2: "HIGH", 3: "NORMAL", 4: "LOW", 5: "BACKGROUND"}


def list_of(task: Task) -> str:
    """pending, active, completed or failed."""
    return next(name for name, states in LISTS.items() if task.state in states)


def states_of(text: str) -> frozenset[TaskState]:
    """Lists and states, separated by commas. Raises InvalidRequest."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    found: set[TaskState] = set()
    for name in names:
        try:
            found |= LISTS[name] if name in LISTS else {TaskState(name)}
        except ValueError:
            known = ", ".join([*LISTS, *(state.value for state in TaskState if state.value not in LISTS)])
            raise InvalidRequest(f"status '{name[:200]}' is none of {known}", details={"field": "status"}) from None
    return frozenset(found)


def whole(task: Task, *, content: bool = True) -> dict[str, Any]:
    """Everything about a task: the superset of the contract's four shapes. Without `content` what goes in and comes out
    is left out."""
    spec = task.spec
    result = as_sent(task.result) if content else None
    return {
        **item(task),
        "input_data": as_sent(spec.input) if content else None,
        "requirements": as_sent(spec.requirements, NO_FIELDS),
        "metadata": as_sent(spec.metadata, NO_FIELDS) if content else {},
        "result_data": result,
        "result": result,
        "performance_metrics": as_sent(task.performance, NO_FIELDS),
        "dependencies": list(spec.dependencies),
        "waiting_for": sorted(task.waiting_for),
        "callback_url": spec.callback_url or None,
        "deadline": spec.deadline,
        "not_before": spec.not_before,
        "idempotency_key": spec.idempotency_key or None,
        "replays": task.replays,
        "next_try_at": task.wake_at if task.state is TaskState.RETRYING else None,
    }


def item(task: Task) -> dict[str, Any]:
    """A row of a list."""
    spec = task.spec
    return {
        "task_id": task.id,
        "task_type": spec.type,
        "status": STATUS[task.state],
        "state": task.state.value,
        "priority": spec.priority,
        "created_at": spec.created_at,
        "timeout": spec.timeout,
        "node_id": task.node or None,
        "assigned_nodes": [task.node] if task.node else [],
        "agent_id": task.agent or None,
        "attempt": task.attempt,
        "retry_count": task.retries,
        "max_retries": spec.max_retries,
        "started_at": task.started_at,
        "completed_at": task.finished_at,
        "execution_time": task.execution_time,
        "error_message": task.error or None,
        "progress": task.progress,
        "progress_message": task.note or None,
        "principal": spec.principal or None,
    }


def summary(counts: Counts) -> dict[str, int]:
    """How many tasks each of the four lists has."""
    return {f"{name}_count": sum(counts.now.get(state, 0) for state in states) for name, states in LISTS.items()}


def as_sent(raw: bytes | None, otherwise: bytes = b"null") -> msgspec.Raw:
    """JSON that a client or node sent, as it came: to read it and write it again would make null of a number beyond a
    double, and lose digits of others. `otherwise` stands where there is none, or null."""
    return msgspec.Raw(raw if raw and raw != b"null" else otherwise)
