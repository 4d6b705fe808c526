"""What a worker is made of: functions for types of tasks."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_RESULT = 1 << 20  # bytes that the service keeps of a result


class Permanent(Exception):
    """Raised by a handler: the task has failed, and no other attempt will help."""


class Cancelled(Exception):
    """Raised by `TaskContext.check` when the task is no longer wanted."""


class TaskContext:
    """One attempt of a task, for its handler. May be used from the handler's thread."""

    def __init__(self, task: Mapping[str, Any], tell: Callable[[float | None, str], None]) -> None:
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
        self._ends = time.monotonic() + self.timeout if self.timeout else None
        self._tell = tell
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
    """`function` takes the task's input data, and the context when `wants_context`."""

    task_type: str
    function: Callable[..., Any]
    place: Place
    wants_context: bool
    capabilities: frozenset[str]

    @classmethod
    def of(cls, task_type: str, function: Callable[..., Any], capabilities: frozenset[str], process: bool) -> Handler:
        """Raises TypeError for a function that cannot be called so."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        try:
            given = [one for one in inspect.signature(function).parameters.values() if one.kind in kinds]
        except ValueError:  # some builtins do not tell
            return cls(task_type, function, Place.PROCESS if process else Place.THREAD, False, capabilities)
        if not 1 <= len(given) <= 2:
            raise TypeError(f"the handler of {task_type!r} takes the input data, and a context if it likes")
        asynchronous = inspect.iscoroutinefunction(function)
        wants_context = len(given) == 2 and given[1].default is inspect.Parameter.empty
        if process and (asynchronous or wants_context):
            raise TypeError(f"the handler of {task_type!r} runs in a process: a plain function of the input data only")
        place = Place.PROCESS if process else Place.LOOP if asynchronous else Place.THREAD
        return cls(task_type, function, place, wants_context, capabilities)
