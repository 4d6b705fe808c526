"""Results that are too large for the ledger, on their way from carriers to the scheduler."""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.services.tasks.report import Report
from orchestrator.services.tasks.scheduler import Scheduler


class Outputs(Protocol):
    """Where large results are kept."""

    async def keep(self, task: Task, attempt: int, report: Report) -> Report:
        """The report with a small result that says where the large one is, or a failure. Raises StorageUnavailable."""

    async def forget(self, task: Task, attempt: int) -> None:
        """The report was refused after all."""


class NoOutputs:
    """`Outputs` of a service that keeps none."""

    async def keep(self, task: Task, attempt: int, report: Report) -> Report:
        size = f"{len(report.result or b''):,} bytes, at most {MAX_RESULT:,} are kept"
        error = f"the result is too large: {size}"
        return Report(False, None, error, True, report.agent, report.performance, report.seconds, report.status)

    async def forget(self, task: Task, attempt: int) -> None:
        """There is nothing."""


class LargeResults:
    """`Reports` for carriers: the scheduler's, behind the keeping of what is large."""

    def __init__(self, scheduler: Scheduler, outputs: Outputs) -> None:
        self._scheduler = scheduler
        self._outputs = outputs
        self._keeping: set[asyncio.Task[None]] = set()

    def heard(self, task_id: str, attempt: int, report: Report | None) -> None:
        if report is None or report.result is None or len(report.result) <= MAX_RESULT:
            self._scheduler.heard(task_id, attempt, report)
            return
        task = self._scheduler.tasks.get(task_id)
        if task is not None and task.state.active and task.attempt == attempt:
            keeping = asyncio.create_task(self._keep(task, attempt, report))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)

    async def stop(self) -> None:
        """Ends what is under way; the attempts are taken up with the next start."""
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    async def _keep(self, task: Task, attempt: int, report: Report) -> None:
        try:
            kept = await self._outputs.keep(task, attempt, report)
        except OrchestratorError as error:
            kept = Report(False, error=f"the result could not be kept: {error.message}", seconds=report.seconds)
        latest = self._scheduler.tasks.get(task.id)
        if latest is None or not latest.state.active or latest.attempt != attempt:
            await self._outputs.forget(task, attempt)  # it was cancelled meanwhile, or ran out of time
            return
        self._scheduler.heard(task.id, attempt, kept)
