"""The durable list of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.domain.worker import Worker


class WorkerStore(Protocol):
    """Workers as registered, with what heartbeats and results have taught about them."""

    async def list(self) -> tuple[Worker, ...]:
        """All workers, by id."""

    async def put(self, worker: Worker) -> None:
        """Adds or replaces a worker."""

    async def put_many(self, workers: Sequence[Worker]) -> None:
        """Writes down what changes all the time: status, usages, agents, counters, measurements and times. A worker
        that is not stored (any more) is left out; registration and the operator's word stay as they are stored."""

    async def delete(self, worker_id: str) -> bool:
        """Whether it was stored."""
