"""Where a worker's handlers run when it is not in the worker's own process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator_client.errors import OrchestratorError
from orchestrator_client.handlers import Handler, TaskContext


class ExecutorUnavailable(OrchestratorError):
    """What should run the handlers is not installed or cannot be reached."""


class Lost(Exception):
    """What ran a handler has gone, which is not the handler's fault: somebody else may run the task."""


class HandlerFailed(Exception):
    """What the handler raised elsewhere, as the line that the service is told."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an executor can run now: so many tasks at a time, of these types. `memory_mb` is that of its largest
    machine; 0: not known."""

    slots: int
    task_types: frozenset[str]
    memory_mb: int = 0


class Executor(Protocol):
    """Runs handlers elsewhere. Used from one event loop."""

    async def open(self, handlers: Mapping[str, Handler]) -> None:
        """Raises ExecutorUnavailable; ValueError for a handler that it cannot run."""

    async def room(self) -> Room:
        """Asked every few seconds. Raises ExecutorUnavailable when it is gone for good."""

    async def run(self, handler: Handler, data: Any, context: TaskContext) -> str:
        """The result as JSON. When cancelled it stops what runs first. Raises Lost, Permanent, and any other exception
        for an attempt that failed."""

    def close(self) -> None:
        """Ends what still runs."""
