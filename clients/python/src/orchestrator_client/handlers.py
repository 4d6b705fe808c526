"""What a worker is made of: functions for types of tasks."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from orchestrator_client.resources import Resources


class Permanent(Exception):
    """Raised by a handler: the task has failed, and no other attempt will help."""


class Cancelled(Exception):
    """Raised by `TaskContext.check` when the task is no longer wanted."""


class TaskContext:
    """One attempt of a task, for its handler. May be used from any thread."""

    def __init__(
        self,
        task: Mapping[str, Any],
        tell: Callable[[float | None, str], None],
        log: Callable[[str, str, float | None], None],
        *,
        seconds_left: float | None = None,
    ) -> None:
        """For the worker. `seconds_left` where less than the task's timeout is left of it."""
        self.told = {name: value for name, value in task.items() if name != "input_data"}
        """All that the service said of the task but its input."""
        self.task_id: str = task["task_id"]
        self.task_type: str = task["task_type"]
        self.attempt: int = task["attempt"]
        self.priority: int = task.get("priority", 3)
        self.metadata: Mapping[str, Any] = task.get("metadata") or {}
        self.requirements: Mapping[str, Any] = task.get("requirements") or {}
        self.timeout: float = task.get("timeout") or 0.0
        """Seconds after which the service gives the attempt up."""
        self.deadline: float | None = task.get("deadline")
        """Seconds since the epoch."""
        left = seconds_left if seconds_left is not None else self.timeout or None
        self._ends = None if left is None else time.monotonic() + left
        self._tell = tell
        self._log = log
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is no longer wanted. A plain handler should look now and then and return; an async one is
        cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises Cancelled when the attempt is no longer wanted."""
        if self.cancelled:
            raise Cancelled(f"task {self.task_id} is no longer wanted")

    @property
    def seconds_left(self) -> float | None:
        """Until the service gives the attempt up."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    def progress(self, part: float | None, message: str = "") -> None:
        """How far it is, 0 to 1, and a line about it. Never blocks; the latest word counts, sent a few times a second
        at most."""
        self._tell(None if part is None else min(1.0, max(0.0, part)), message)

    def log(self, line: str, level: str = "info", at: float | None = None) -> None:
        """A line for the task's log, which `Client.logs` shows (several, where it has line breaks); `at` in seconds
        since the epoch, otherwise now. Never blocks; what comes faster than the service takes it is left out in the
        end, and a line says how much."""
        self._log(line, level, at)

    def cancel(self) -> None:
        """For the worker: the attempt is no longer wanted."""
        self._cancelled.set()


class Place(Enum):
    """Where a handler runs."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Handler:
    """`function` takes the task's input data, and the context when `wants_context`. `resources` are for executors that
    know of them."""

    task_type: str
    function: Callable[..., Any]
    place: Place
    wants_context: bool
    capabilities: frozenset[str]
    resources: Resources = field(default_factory=Resources)

    @classmethod
    def of(
        cls,
        task_type: str,
        function: Callable[..., Any],
        capabilities: frozenset[str],
        process: bool,
        resources: Resources,
    ) -> Handler:
        """Raises TypeError for a function that cannot be called so."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            given = [one for one in inspect.signature(function).parameters.values() if one.kind in kinds]
        except ValueError:  # some builtins do not tell
            place = Place.PROCESS if process else Place.THREAD
            return cls(task_type, function, place, False, capabilities, resources)
        if not 1 <= len(given) <= 2:
            raise TypeError(f"the handler of {task_type!r} takes the input data, and a context if it likes")
        asynchronous = inspect.iscoroutinefunction(function)
        wants_context = len(given) == 2 and given[1].default is inspect.Parameter.empty
        if process and (asynchronous or wants_context):
            raise TypeError(f"the handler of {task_type!r} runs in a process: a plain function of the input data only")
        place = Place.PROCESS if process else Place.LOOP if asynchronous else Place.THREAD
        return cls(task_type, function, place, wants_context, capabilities, resources)
