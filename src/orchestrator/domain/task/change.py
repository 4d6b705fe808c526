"""A write to the ledger."""

from __future__ import annotations

from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task


class Change:
    """`expected` is the version that the change was made from; 0 for a task that is new, and for a finished one that is
    replayed the version that finished it. `before` is the state that it had in that version, None for a new task. A
    finished `task` moves out of the hot table, a replayed one back into it."""

    __slots__ = ("before", "expected", "task")

    def __init__(self, task: Task, expected: int = 0, before: TaskState | None = None) -> None:
        self.task = task
        self.expected = expected
        self.before = before

    def __repr__(self) -> str:
        return f"Change({self.task!r}, {self.expected}, {self.before})"
