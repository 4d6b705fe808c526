"""What a task waits for."""

from __future__ import annotations

from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.task.state import COMPLETED
from orchestrator.domain.task.task import OnDependencyFailure, TaskSpec
from orchestrator.ports.ledger import Ledger
from orchestrator.services.tasks.scheduler import Scheduler


async def unfinished(spec: TaskSpec, ledger: Ledger, scheduler: Scheduler, *, new: bool) -> frozenset[str]:
    """The dependencies that have not finished. Raises Conflict for one that has failed already, and for a task that is
    `new` InvalidRequest for one that is unknown."""
    foreign = [parent for parent in spec.dependencies if parent not in scheduler.tasks]
    held = await ledger.get(foreign) if foreign else {}
    waits = set(spec.dependencies) - set(foreign)
    for parent in foreign:
        if parent not in held:
            if new:
                raise InvalidRequest(f"dependencies: there is no task '{parent}'")
        elif not held[parent].state.finished:
            waits.add(parent)
        elif held[parent].state is not COMPLETED and spec.on_dependency_failure == OnDependencyFailure.FAIL:
            raise Conflict(f"dependencies: task '{parent}' is {held[parent].state}", details={"dependency": parent})
    return frozenset(waits)
