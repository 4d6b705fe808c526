"""Finished tasks, as far as they are forgotten again."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.task.state import TaskState


class TaskArchive(Protocol):
    """Raises StorageUnavailable, as `Ledger` does."""

    async def last_kept(self, state: TaskState, most: int) -> int | None:
        """The `seq` of the newest task that ended in this state and has `most` newer ones; None when there are not so
        many."""

    async def prune(self, state: TaskState, through: int, limit: int) -> int:
        """Deletes at most `limit` of the tasks that ended in this state, oldest first, whose `seq` is not over
        `through`, and their idempotency keys; how many."""
