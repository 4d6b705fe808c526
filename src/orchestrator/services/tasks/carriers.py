"""Which carrier brings a task to its node."""

from __future__ import annotations

from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker, WorkerMode
from orchestrator.services.tasks.scheduler import Carrier


class Carriers:
    """`Carrier`: the one of this process's own worker, and the one of all others."""

    def __init__(self, nodes: Carrier, local: Carrier) -> None:
        self._nodes = nodes
        self._local = local

    def deliver(self, worker: Worker, task: Task) -> None:
        self._of(worker).deliver(worker, task)

    def withdraw(self, worker: Worker, task: Task) -> None:
        self._of(worker).withdraw(worker, task)

    def _of(self, worker: Worker) -> Carrier:
        return self._local if worker.mode is WorkerMode.LOCAL else self._nodes
