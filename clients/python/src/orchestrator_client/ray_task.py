"""The part of a handler's run that happens on a node of a Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator_client.handlers import Handler, TaskContext
from orchestrator_client.notes import SECONDS, Note, Said
from orchestrator_client.outcomes import Outcome

LOOK_SECONDS = 0.1  # until an interruption by Ray is seen


def is_streamed(handler: Handler) -> bool:
    """A plain function of the input data has nothing to say before its end: Ray interrupts it where it is."""
    return handler.wants_context or asyncio.iscoroutinefunction(handler.function)


def plain(function: Callable[[Any], Any]) -> Callable[[Any], Outcome]:
    """As Ray runs it. (A function made here travels with all that it holds.)"""

    def run(data: Any) -> Outcome:
        return Outcome.of(lambda: function(data))

    return run


def streamed(handler: Handler, function: Callable[..., Any]) -> Callable[..., Iterator[Said | Outcome]]:
    wants_context = handler.wants_context
    asynchronous = asyncio.iscoroutinefunction(function)

    def run(data: Any, task: Mapping[str, Any], ends: float | None) -> Iterator[Said | Outcome]:
        yield from Run(function, wants_context, asynchronous, task, ends).follow(data)

    return run


class Run:
    """One attempt: the handler in a thread, while this one tells what it says and is interrupted by Ray."""

    def __init__(
        self,
        function: Callable[..., Any],
        wants_context: bool,
        asynchronous: bool,
        task: Mapping[str, Any],
        ends: float | None,
    ) -> None:
        """`ends`: seconds since the epoch when the service gives the attempt up."""
        self._function = function
        self._wants_context = wants_context
        self._asynchronous = asynchronous
        self._note = Note(lambda: None)
        left = None if ends is None else max(0.0, ends - time.time())
        self._context = TaskContext(task, self._note.progress, self._note.log, seconds_left=left)
        self._job: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._outcome = Outcome(error="the handler was interrupted")
        self._over = threading.Event()

    def follow(self, data: Any) -> Iterator[Said | Outcome]:
        """What it says, as it says it, and then what became of it."""
        threading.Thread(target=self._work, args=(data,), name=self._context.task_id, daemon=True).start()
        told = 0.0
        try:
            while not self._over.wait(LOOK_SECONDS):
                if self._note.some and time.monotonic() - told >= SECONDS:
                    told = time.monotonic()
                    yield self._note.take()
            while self._note.some:
                yield self._note.take()
        except BaseException:  # Ray interrupts with KeyboardInterrupt
            self._interrupt()
            raise
        yield self._outcome

    def _interrupt(self) -> None:
        """Waits for the handler to see it; Ray ends the process when that takes too long."""
        self._context.cancel()
        if self._job is not None:
            loop, task = self._job
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)
        while not self._over.wait(LOOK_SECONDS):
            pass

    def _work(self, data: Any) -> None:
        arguments = (data, self._context) if self._wants_context else (data,)
        try:
            self._outcome = Outcome.of(lambda: self._call(arguments))
        except KeyboardInterrupt as error:
            self._outcome = Outcome.failed(error)
        finally:
            self._over.set()

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        return asyncio.run(self._await(arguments)) if self._asynchronous else self._function(*arguments)

    async def _await(self, arguments: tuple[Any, ...]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._job = (asyncio.get_running_loop(), task)
        if self._context.cancelled:
            task.cancel()
        return await self._function(*arguments)
