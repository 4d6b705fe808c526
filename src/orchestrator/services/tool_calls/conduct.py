"""Calls that run in this process, from their beginning to the record of their end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from orchestrator.domain.errors import OrchestratorError, RequestError, StorageUnavailable
from orchestrator.domain.storable import plain_text
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import INTERRUPTED, CallError, CallState, ToolCall, moved
from orchestrator.ports.tool_calls import ToolCallStore
from orchestrator.ports.tool_runner import ToolRunner
from orchestrator.services.clock import Clock
from orchestrator.services.tool_calls import journal
from orchestrator.services.tool_calls.attempts import Attempted, Attempts
from orchestrator.services.tool_calls.results import Results

MAX_MESSAGE = 4_000  # characters
AGAIN = 1.0  # seconds between two tries to write an end down
STOPPED = "the service stopped during the call"


@dataclass(slots=True)
class _Run:
    call: ToolCall
    task: asyncio.Task[ToolCall | None] | None = field(default=None)
    keeping: bool = False  # there may be artifacts


class Conduct:
    """Runs calls that are written down as RUNNING. Which process they belong to is `owner`, set once before the
    first."""

    def __init__(self, store: ToolCallStore, attempts: Attempts, results: Results, clock: Clock) -> None:
        self.owner = ""
        self.closing = False
        self.on_end: list[Callable[[ToolCall, Tool], None]] = []
        self._store = store
        self._attempts = attempts
        self._results = results
        self._clock = clock
        self._running: dict[str, _Run] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def begin(
        self,
        call: ToolCall,
        tool: Tool,
        arguments: Mapping[str, Any],
        runner: ToolRunner,
        over: Callable[[], None],
    ) -> None:
        """`over` is called when it does not run any more."""
        run = self._running[call.id] = _Run(call)
        run.task = asyncio.create_task(self._carry_out(call, tool, arguments, runner))

        def done(_task: asyncio.Task[ToolCall | None]) -> None:
            self._running.pop(call.id, None)
            over()

        run.task.add_done_callback(done)

    def has(self, call_id: str) -> bool:
        """Whether it runs here."""
        return call_id in self._running

    async def wait(self, call_id: str, seconds: float | None) -> ToolCall | None:
        """The record after the end; None where the call does not run here, or still runs after so many seconds."""
        run = self._running.get(call_id)
        if run is None or run.task is None:
            return None
        done, _ = await asyncio.wait({run.task}, timeout=seconds)
        return run.task.result() if done and not run.task.cancelled() else None

    def stop(self, call_id: str) -> None:
        """Its end is written down already."""
        run = self._running.get(call_id)
        if run is not None and run.task is not None:
            run.task.cancel()

    async def look(self) -> None:
        """Stops the calls that another process has ended. Raises StorageUnavailable."""
        for call_id in list(self._running):
            call = await self._store.get(call_id)
            if call is None or call.state is not CallState.RUNNING or call.owner != self.owner:
                self.stop(call_id)

    async def close(self) -> None:
        """Ends everything; it is written down as interrupted."""
        self.closing = True
        tasks = [run.task for run in self._running.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def interrupt(self, call: ToolCall) -> bool:
        """Writes down that nobody knows how far the call was; whether it still ran. What it left is deleted."""
        if not await self._store.save(self._interrupted(call), call):
            return False
        await self._results.forget(call.id)
        return True

    async def _carry_out(
        self, call: ToolCall, tool: Tool, arguments: Mapping[str, Any], runner: ToolRunner
    ) -> ToolCall | None:
        """The record of the end; None where another end was written down before."""
        try:
            attempted = await self._attempts.run(runner, call, tool, arguments, call.timeout or 0.0)
            over = await self._over(call, tool, attempted)
        except asyncio.CancelledError:
            over = None
        if over is None and self.closing:
            over = self._interrupted(call)
        return await _whole(self._record(call, tool, over))

    async def _over(self, call: ToolCall, tool: Tool, attempted: Attempted) -> ToolCall:
        error, outcome = attempted.error, attempted.outcome
        result: Any = None
        made: tuple[str, ...] = ()
        if outcome is not None:
            self._running[call.id].keeping = True
            try:
                result, made = await self._results.keep(call, tool, outcome)
            except OrchestratorError as refused:
                error = refused
        not_begun = outcome is None and isinstance(error, RequestError)
        price = tool.execution.cost if tool.execution is not None else 0.0
        told = outcome.cost if outcome is not None else None
        cost = told if told is not None and 0 <= told < math.inf else price
        return moved(
            call,
            CallState.SUCCEEDED if error is None else CallState.FAILED,
            ended_at=self._clock.wall(),
            attempts=attempted.attempts,
            result=result,
            error=call_error(error) if error is not None else None,
            artifacts=made,
            cost=0.0 if not_begun else cost,
            expires_at=None,
        )

    async def _record(self, call: ToolCall, tool: Tool, over: ToolCall | None) -> ToolCall | None:
        saved = over is not None and await self._saved(over, call)
        left = self._running[call.id].keeping
        if left and (over is None or not saved or over.state is not CallState.SUCCEEDED):
            with suppress(StorageUnavailable):  # left to the clean-up
                await self._results.forget(call.id)
        if over is None or not saved:
            return None
        journal.ended(over)
        for listener in self.on_end:
            listener(over, tool)
        return over

    async def _saved(self, over: ToolCall, call: ToolCall) -> bool:
        """Tries until the database answers, or the service stops: then the next start finds the call interrupted."""
        told = False
        while True:
            try:
                return await self._store.save(over, call)
            except RequestError as error:
                over = replace(self._interrupted(call), error=CallError("internal_error", error.message))
            except StorageUnavailable as error:
                if not told:
                    journal.not_written(error.message)
                told = True
                if self.closing:
                    return False
            await asyncio.sleep(AGAIN)

    def _interrupted(self, call: ToolCall) -> ToolCall:
        error = CallError(INTERRUPTED, STOPPED)
        return moved(call, CallState.FAILED, ended_at=self._clock.wall(), error=error, expires_at=None)


async def _whole(recording: Coroutine[Any, Any, ToolCall | None]) -> ToolCall | None:
    """Whoever cancels the call does not cancel the record of its end."""
    task = asyncio.ensure_future(recording)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise


def call_error(error: OrchestratorError) -> CallError:
    problems = tuple(error.details.get("problems", ()))
    try:
        msgspec.json.encode(problems)
    except (TypeError, ValueError, OverflowError, RecursionError):
        problems = ()
    return CallError(error.code, plain_text(error.message, MAX_MESSAGE), problems)
