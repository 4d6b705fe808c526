"""Workers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.domain.storable import check_storable, is_key
from orchestrator.domain.worker import Worker, refreshed


class MemoryWorkers:
    """`WorkerStore` in a dict."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    async def list(self) -> tuple[Worker, ...]:
        return tuple(_copy(self._workers[worker_id]) for worker_id in sorted(self._workers))

    async def put(self, worker: Worker) -> None:
        check_storable(worker, worker.id)
        self._workers[worker.id] = _copy(worker)

    async def put_many(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            check_storable(worker, worker.id)
        for worker in workers:
            known = self._workers.get(worker.id)
            if known is not None:
                self._workers[worker.id] = refreshed(known, worker)

    async def delete(self, worker_id: str) -> bool:
        return is_key(worker_id) and self._workers.pop(worker_id, None) is not None


def _copy(worker: Worker) -> Worker:
    return replace(worker, labels=dict(worker.labels), metadata=dict(worker.metadata))
