"""Tasks that call a function which the operator has named for their type."""

from __future__ import annotations

from orchestrator.domain.task.task import Task
from orchestrator.ports.callables import Callables
from orchestrator.services.tasks.local import failure
from orchestrator.services.tasks.report import Report


class Function:
    """`Handler`. The call ends with the task's timeout, as it is withdrawn then."""

    def __init__(self, callables: Callables, name: str) -> None:
        """`name` is `module:function`."""
        self._callables = callables
        self._name = name

    def wanted(self, task_type: str, others: bool) -> bool:
        """Always: the operator's word."""
        return True

    @property
    def ready(self) -> bool:
        return True

    async def run(self, task: Task) -> Report:
        called = await self._callables.call(self._name, task.spec.input)
        if called.result is None:
            return failure(called.error, final=called.final)
        return Report(True, called.result)
