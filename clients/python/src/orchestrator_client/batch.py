"""A set of tasks that belong together."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from orchestrator_client.client import Client
from orchestrator_client.models import TaskResult


class TaskBatch:
    """Tasks submitted through one client; `results` are those that were seen finished."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.task_ids: list[str] = []
        self.results: dict[str, TaskResult] = {}

    def submit_task(self, task_type: str, input_data: Any = None, **more: Any) -> str:
        """As `Client.submit_task`."""
        task_id = self.client.submit_task(task_type, input_data, **more)
        self.task_ids.append(task_id)
        return task_id

    def wait_for_all(self, timeout: float | None = None) -> dict[str, TaskResult]:
        """All tasks by id when every one has finished. Raises WaitTimeout, a TimeoutError, after `timeout` seconds."""
        began = time.monotonic()
        for task_id in self.task_ids:
            if task_id not in self.results:
                left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
                self.results[task_id] = self.client.wait_for_task(task_id, left)
        return dict(self.results)

    def get_status_summary(self) -> dict[str, int]:
        """How many tasks have which status now, and `total`."""
        counts: Counter[str] = Counter()
        for task_id in self.task_ids:
            task = self.results.get(task_id) or self.client.get_task(task_id)
            if task.finished:
                self.results[task_id] = task
            counts[task.status.value] += 1
        return {"total": len(self.task_ids), **counts}


BatchTaskManager = TaskBatch  # the predecessor's name
