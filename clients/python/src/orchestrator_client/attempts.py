"""Runs the attempts that a worker was given."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from orchestrator_client.handlers import Cancelled, Handler, Permanent, Place, TaskContext
from orchestrator_client.places import Processes, Threads
from orchestrator_client.reports import Reports

Key = tuple[str, int]  # task id, attempt
Progress = Callable[[str, int, float | None, str], None]
_log = logging.getLogger("orchestrator_client.worker")


class Attempts:
    """At most `slots` at a time."""

    def __init__(self, handlers: Mapping[str, Handler], slots: int, reports: Reports, progress: Progress) -> None:
        self._handlers = handlers
        self._slots = slots
        self._reports = reports
        self._progress = progress
        self._threads = Threads()
        self._processes = Processes(slots)
        self._running: dict[Key, tuple[asyncio.Task[None], TaskContext]] = {}
        self._ended = asyncio.Event()

    @property
    def free(self) -> int:
        return self._slots - len(self._running)

    @property
    def task_ids(self) -> Collection[str]:
        """Tasks that are worked on for the service."""
        return {key[0] for key, (_, context) in self._running.items() if not context.cancelled}

    async def room(self) -> None:
        """Waits for a free slot."""
        while self.free <= 0:
            await self.change()

    async def change(self) -> None:
        """Waits for the end of an attempt."""
        self._ended.clear()
        await self._ended.wait()

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
        loop = asyncio.get_running_loop()

        def tell(part: float | None, message: str) -> None:
            loop.call_soon_threadsafe(self._progress, *key, part, message)

        context = TaskContext(told, tell)
        task = asyncio.create_task(self._run(key, handler, told.get("input_data"), context))
        self._running[key] = (task, context)
        task.add_done_callback(lambda _: self._end(key))

    def cancel(self, task_id: str, attempt: int) -> None:
        """The service does not want it any more: nothing will be reported."""
        found = self._running.get((task_id, attempt))
        if found is None:
            return
        task, context = found
        context.cancel()
        if self._handlers[context.task_type].place is Place.LOOP:
            task.cancel()

    def release_all(self) -> None:
        """Gives back what runs."""
        for key, (task, context) in self._running.items():
            if not context.cancelled:
                context.cancel()
                self._reports.released(*key)
            task.cancel()

    def close(self) -> None:
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
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is the attempt's end
            if context.cancelled:
                return
            final = isinstance(error, Permanent)
            # A traceback belongs to the worker's log; the service gets the line that says what it is.
            _log.warning("task %s (%s), attempt %d failed", *(key[0], context.task_type, key[1]), exc_info=error)
            said = str(error) if final and str(error) else _line(error)
            self._reports.failed(*key, time.monotonic() - began, said, retryable=not final)
            return
        if not context.cancelled:
            self._reports.completed(*key, time.monotonic() - began, result)

    async def _call(self, handler: Handler, data: Any, context: TaskContext) -> Any:
        arguments = (data, context) if handler.wants_context else (data,)
        if handler.place is Place.LOOP:
            return await handler.function(*arguments)
        place = self._threads if handler.place is Place.THREAD else self._processes
        return await place.run(handler.function, *arguments)

    def _end(self, key: Key) -> None:
        del self._running[key]
        self._ended.set()


def _line(error: Exception) -> str:
    if isinstance(error, Cancelled):
        return "the handler gave up"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
