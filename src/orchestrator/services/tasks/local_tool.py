"""Tasks that call a tool, as the principal who submitted them.

A call has the task in its idempotency key, so that a task that is begun anew after a crash finds the outcome of the
call that it made before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.domain.access import Principal
from orchestrator.domain.errors import Conflict, OrchestratorError
from orchestrator.domain.task.task import Task
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import INTERRUPTED, CallState, ToolCall
from orchestrator.services.tasks.local import failure
from orchestrator.services.tasks.report import Report
from orchestrator.services.tool_calls.calls import Calls

TYPE = "tool"
LOOK = 1.0  # seconds between two looks at a call that waits for a person, or that another process carries out
MOST_CALLS = 1_000  # of one task
AGAIN = frozenset({"tool_crashed", "tool_timeout", "storage_unavailable", "overloaded"})


class ToolTaskBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `input_data` says."""

    tool: str
    arguments: dict[str, Any] = {}


_decode = msgspec.json.Decoder(ToolTaskBody).decode


class ToolTasks:
    """`Handler`."""

    def __init__(
        self, calls: Calls, principal: Callable[[str], Principal | None], stopping: Callable[[], bool]
    ) -> None:
        """`principal` finds who submitted a task by id; `stopping` tells whether the service is leaving."""
        self._calls = calls
        self._principal = principal
        self._stopping = stopping

    def wanted(self, task_type: str, others: bool) -> bool:
        return not others

    @property
    def ready(self) -> bool:
        """There are always tools: they alone are no reason to show the service as a node."""
        return False

    async def run(self, task: Task) -> Report:
        who = self._principal(task.spec.principal)
        if who is None:
            return failure(f"the key '{task.spec.principal}', which submitted this task, opens nothing now", final=True)
        try:
            asked = _decode(task.spec.input)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return failure(f"input_data: {error}", final=True)
        try:
            return await self._carry_out(task, asked, who)
        except OrchestratorError as error:
            return failure(error.message, final=error.status < 500 and not error.retryable)

    async def _carry_out(self, task: Task, asked: ToolTaskBody, who: Principal) -> Report:
        """Makes the call, or finds it: each earlier attempt of this task may have left one."""
        left = task.attempt
        for number in range(1, MOST_CALLS):
            key = f"task:{task.id}" if number == 1 else f"task:{task.id}:{number}"
            begun = await self._calls.call(asked.tool, asked.arguments, who, idempotency_key=key, wait=0, task=task.id)
            call = await self._over(begun, who)
            error = call.error
            if call.state is CallState.SUCCEEDED:
                return Report(True, msgspec.json.encode(_shown(call)))
            if error is None:
                return failure(f"the call {call.id} was {call.state.value.lower()}{_why(call)}", final=True)
            if error.code == INTERRUPTED:
                if not (call.side_effect is SideEffect.READ or _may_fail(task)):
                    return failure(f"{error.code}: {error.message}", final=True)
                continue
            left -= 1
            if left <= 0 or error.code not in AGAIN:
                return failure(f"{error.code}: {error.message}", final=error.code not in AGAIN)
        return failure("the call was interrupted again and again", final=True)

    async def _over(self, call: ToolCall, who: Principal) -> ToolCall:
        """The call after its end. When nobody wants the task any more, the call is cancelled, too."""
        try:
            while not call.state.final:
                call = await self._calls.ended(call.id, who)
                if not call.state.final:
                    await asyncio.sleep(LOOK)
            return call
        except asyncio.CancelledError:
            if not self._stopping():
                await self._cancel(call, who)
            raise

    async def _cancel(self, call: ToolCall, who: Principal) -> None:
        try:
            await self._calls.cancel(call.id, who)
        except Conflict:  # it is over
            return


def _may_fail(task: Task) -> bool:
    """Whether the task has retries left."""
    return task.retries < task.spec.max_retries


def _shown(call: ToolCall) -> dict[str, Any]:
    return {
        "call_id": call.id,
        "tool": call.tool_name,
        "result": call.result,
        "artifacts": list(call.artifacts),
        "cost": call.cost,
        "attempts": call.attempts,
    }


def _why(call: ToolCall) -> str:
    reason = call.decision.reason if call.decision is not None else ""
    return f": {reason}" if reason else ""
