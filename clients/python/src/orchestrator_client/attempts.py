"""Runs the attempts that a worker was given."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator_client.executor import Executor, Lost
from orchestrator_client.handlers import Handler, Permanent, Place, TaskContext
from orchestrator_client.notes import Key, Notes
from orchestrator_client.outcomes import error_line
from orchestrator_client.places import Processes, Threads
from orchestrator_client.reports import Reports
from orchestrator_client.results import encode

SPARE_SECONDS = 5.0  # for the result, before the service gives an attempt up
_log = logging.getLogger("orchestrator_client.worker")


@dataclass(slots=True)
class _Attempt:
    """`end` is what the service is told when the worker ends now: it is given back, or how it ended when it only waits
    for its last lines to be taken (`over`)."""

    task: asyncio.Task[None]
    context: TaskContext
    end: Callable[[], None]
    over: bool = False


class Attempts:
    """At most `slots` at a time, in this process or in an executor."""

    def __init__(
        self, handlers: Mapping[str, Handler], slots: int, reports: Reports, notes: Notes, executor: Executor | None
    ) -> None:
        self._handlers = handlers
        self._slots = slots
        self._reports = reports
        self._notes = notes
        self._executor = executor
        self._threads = Threads()
        self._processes = Processes()
        self._running: dict[Key, _Attempt] = {}
        self._changed = asyncio.Event()

    def resize(self, slots: int) -> None:
        """What runs goes on, also where there is room for less now."""
        self._slots = slots
        self._changed.set()

    @property
    def free(self) -> int:
        return self._slots - len(self._running)

    @property
    def task_ids(self) -> Collection[str]:
        """Tasks that are worked on for the service."""
        return {key[0] for key, one in self._running.items() if not one.context.cancelled}

    async def room(self) -> None:
        """Waits for a free slot."""
        while self.free <= 0:
            await self.change()

    async def change(self) -> None:
        """Waits for the end of an attempt, or for other slots."""
        self._changed.clear()
        await self._changed.wait()

    async def finish(self) -> None:
        """Waits for the end of all."""
        while self._running:
            await self.change()

    def begin(self, told: Mapping[str, Any]) -> None:
        key = (told["task_id"], told["attempt"])
        if key in self._running:
            return
        handler = self._handlers.get(told["task_type"])
        if handler is None:
            self._reports.failed(*key, 0.0, f"this worker has no handler for {told['task_type']}", retryable=True)
            return
        note = self._notes.begin(key)
        context = TaskContext(told, note.progress, note.log)
        task = asyncio.create_task(self._run(key, handler, told.get("input_data"), context))
        self._running[key] = _Attempt(task, context, partial(self._reports.released, *key))
        task.add_done_callback(lambda _: self._end(key))

    def cancel(self, task_id: str, attempt: int) -> None:
        """The service does not want it any more: nothing will be reported."""
        found = self._running.get((task_id, attempt))
        if found is None:
            return
        found.context.cancel()
        if found.over or self._executor is not None or self._handlers[found.context.task_type].place is Place.LOOP:
            found.task.cancel()

    def release_all(self) -> None:
        """Gives back what runs."""
        for one in self._running.values():
            if not one.context.cancelled:
                one.context.cancel()
                one.end()
            one.task.cancel()

    def close(self) -> None:
        for one in self._running.values():
            one.task.cancel()
        self._threads.close()
        self._processes.close()

    async def _run(self, key: Key, handler: Handler, data: Any, context: TaskContext) -> None:
        began = time.monotonic()
        try:
            result = await self._call(handler, data, context)
        except asyncio.CancelledError:
            if not context.cancelled:
                self._reports.failed(*key, time.monotonic() - began, "the handler cancelled itself", retryable=True)
            return
        except Lost as lost:
            if not context.cancelled:
                _log.warning("task %s (%s), attempt %d is given back: %s", key[0], context.task_type, key[1], lost)
                self._reports.released(*key)
            return
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever else a handler raises is the attempt's end, not ours
            await self._failed(key, context, time.monotonic() - began, error)
            return
        seconds = time.monotonic() - began
        await self._ended(key, context, partial(self._reports.completed, *key, seconds, result))

    async def _failed(self, key: Key, context: TaskContext, seconds: float, error: BaseException) -> None:
        if context.cancelled:
            return
        final = isinstance(error, Permanent)
        # A traceback belongs to the worker's log; the service gets the line that says what it is.
        _log.warning("task %s (%s), attempt %d failed", *(key[0], context.task_type, key[1]), exc_info=error)
        report = partial(self._reports.failed, *key, seconds, error_line(error), retryable=not final)
        await self._ended(key, context, report)

    async def _ended(self, key: Key, context: TaskContext, report: Callable[[], None]) -> None:
        """Its lines first: after the result the service takes none. The slot is kept meanwhile: a service that is away
        has nothing for it."""
        attempt = self._running[key]
        attempt.end, attempt.over = report, True
        left = 0.0 if context.cancelled else context.seconds_left
        await self._notes.flush(key, None if left is None else left - SPARE_SECONDS)
        if not context.cancelled:
            report()

    async def _call(self, handler: Handler, data: Any, context: TaskContext) -> str:
        """The result as JSON."""
        if self._executor is not None:
            return await self._executor.run(handler, data, context)
        arguments = (data, context) if handler.wants_context else (data,)
        if handler.place is Place.LOOP:
            return encode(await handler.function(*arguments))
        if handler.place is Place.PROCESS:
            return await self._processes.run(handler.function, *arguments)
        return encode(await self._threads.run(handler.function, *arguments))

    def _end(self, key: Key) -> None:
        del self._running[key]
        self._notes.end(key)
        self._changed.set()
