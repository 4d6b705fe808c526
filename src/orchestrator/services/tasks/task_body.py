"""A task as clients send it."""

from __future__ import annotations

import msgspec

from orchestrator.domain.task.requirements import MAX_LOAD
from orchestrator.domain.task.task import OnDependencyFailure


class BackoffBody(msgspec.Struct, forbid_unknown_fields=True):
    base: float = 1.0
    most: float = 60.0


class RequirementsBody(msgspec.Struct):
    """What placement reads; a node is given all that was sent."""

    capabilities: list[str] = []
    labels: dict[str, str] = {}
    min_cpu: float = 0.0
    min_memory: float = 0.0
    max_load: float = MAX_LOAD
    preferred_nodes: list[str] = []
    exclude_nodes: list[str] = []


class TaskBody(msgspec.Struct):
    """One task as clients send it (tasks contract 1.2, and what is new: see docs/reference/tasks-api.md)."""

    task_type: str = ""
    task_id: str | None = None
    priority: int | str | None = None
    requirements: msgspec.Raw = msgspec.Raw(b"{}")
    input_data: msgspec.Raw = msgspec.Raw(b"null")
    timeout: float | None = None
    max_retries: int | None = None
    deadline: float | None = None
    not_before: float | None = None
    callback_url: str | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    dependencies: list[str] = []
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    idempotency_key: str | None = None
    backoff: BackoffBody | None = None


class TasksBody(msgspec.Struct):
    """Many tasks, all of them good."""

    tasks: list[TaskBody]


class BatchBody(msgspec.Struct):
    """Many tasks of which some may be wrong."""

    tasks: list[msgspec.Raw]
