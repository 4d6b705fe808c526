"""Attempts to carry out a call: time limit, and another try where that may help."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import OrchestratorError, ToolCrashed, ToolTimeout
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, ToolCall
from orchestrator.ports.tool_runner import ToolRunner

PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two attempts: the first at most, and all at most
_log = logging.getLogger("orchestrator.tools")


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of it: an outcome, or the error of the last attempt."""

    attempts: int
    outcome: CallOutcome | None = None
    error: OrchestratorError | None = None


class Attempts:
    """Runs a tool as often as its `execution` says."""

    def __init__(self, rand: Callable[[], float]) -> None:
        self._rand = rand

    async def run(
        self, runner: ToolRunner, call: ToolCall, tool: Tool, arguments: Mapping[str, Any], timeout: float
    ) -> Attempted:
        """`timeout` in seconds, for each attempt."""
        assert tool.execution is not None
        policy = RetryPolicy(max(1, tool.execution.attempts), PAUSE, max_delay=LONGEST_PAUSE)
        number = 0
        while True:
            number += 1
            order = CallOrder(call.id, tool, arguments, call.principal, number, timeout, call.created_at)
            try:
                return Attempted(number, outcome=await self._once(runner, order))
            except OrchestratorError as error:
                if not error.retryable or not policy.may_retry(number):
                    return Attempted(number, error=error)
                asked = min(error.retry_after or 0.0, LONGEST_PAUSE)
            await asyncio.sleep(max(policy.delay(number, self._rand()), asked))

    async def _once(self, runner: ToolRunner, order: CallOrder) -> CallOutcome:
        try:
            async with asyncio.timeout(order.timeout) as limit:
                return await runner.run(order)
        except TimeoutError:
            if not limit.expired():
                raise ToolCrashed("the tool gave up waiting for something") from None
            raise ToolTimeout(f"no result in {order.timeout:g} s") from None
        except OrchestratorError:
            raise
        except Exception:  # noqa: BLE001 - the edge of a tool: logged whole, and the call must have an end
            _log.exception("tool_broke", extra={"call": order.call_id, "tool": order.tool.name})
            raise ToolBroke("internal error: see the service's log") from None


class ToolBroke(ToolCrashed):
    """A defect of ours: trying again does not mend it."""

    code = "internal_error"
    retryable = False
