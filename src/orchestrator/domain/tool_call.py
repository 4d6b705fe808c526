"""A call of a tool, from its order to its outcome; its states, and who decides what.

    PENDING_APPROVAL -> RUNNING | REJECTED | CANCELLED | EXPIRED
    RUNNING          -> SUCCEEDED | FAILED | CANCELLED

A call is written down before it is carried out. One that was RUNNING when its process died becomes FAILED with the code
`interrupted`: nobody knows how far it was, so it is never begun again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from orchestrator.domain.errors import Conflict
from orchestrator.domain.tool import ApprovalRule, SideEffect, Tool

INTERRUPTED = "interrupted"  # the process died during the call
INLINE_LIMIT = 1 << 20  # bytes of a result as JSON; a larger one becomes an artifact


class CallState(StrEnum):
    PENDING_APPROVAL = "PENDING_APPROVAL"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"  # by a person
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"  # nobody decided in time

    @property
    def final(self) -> bool:
        return self not in (CallState.PENDING_APPROVAL, CallState.RUNNING)


_NEXT: dict[CallState, frozenset[CallState]] = {
    CallState.PENDING_APPROVAL: frozenset(
        {CallState.RUNNING, CallState.REJECTED, CallState.CANCELLED, CallState.EXPIRED, CallState.FAILED}
    ),
    CallState.RUNNING: frozenset({CallState.SUCCEEDED, CallState.FAILED, CallState.CANCELLED}),
}


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call failed: a stable word, and a sentence. `problems` has one entry per violation of a schema: `path`
    (JSON Pointer into the value), `message`, `schema_path`."""

    code: str
    message: str
    problems: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said about a call that needs approval."""

    approved: bool
    by: str
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Times in seconds since the epoch. `result` is any JSON value; a large one is in an artifact, and `artifacts`
    names it beside those that the tool made. `task`, `run` and `agent` say on whose behalf it was made. `secrets` are
    JSON Pointers into the arguments: what is there is masked, in the record too from the moment the call runs."""

    id: str
    tool_id: str
    tool_name: str
    arguments: Mapping[str, Any]
    principal: str
    state: CallState
    created_at: float
    side_effect: SideEffect = SideEffect.EXTERNAL
    started_at: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    result: Any = None
    error: CallError | None = None
    artifacts: tuple[str, ...] = ()
    cost: float = 0.0
    decision: Decision | None = None
    expires_at: float | None = None  # while it waits for approval: until when; while it runs: it is over by then
    idempotency_key: str | None = None
    digest: str = ""  # of tool and arguments: the same key with another digest is a conflict
    owner: str = ""  # the process that carries it out
    task: str | None = None
    run: str | None = None
    agent: str | None = None
    timeout: float | None = None  # seconds for one attempt, where the caller said so
    secrets: tuple[str, ...] = ()


def moved(call: ToolCall, state: CallState, **changes: Any) -> ToolCall:
    """The call in another state. Raises Conflict where there is no such way."""
    if state not in _NEXT.get(call.state, frozenset()):
        raise Conflict(
            f"Call '{call.id}' is {call.state.value}, so it cannot become {state.value}",
            details={"state": call.state.value},
        )
    return replace(call, state=state, **changes)


def needs_approval(tool: Tool, rules: Mapping[SideEffect, ApprovalRule]) -> bool:
    """Whether a person has to agree. `rules` are the operator's, per side effect; what is not named is allowed, but for
    dangerous tools."""
    execution = tool.execution
    if execution is None:
        return False
    rule = execution.approval
    if rule is ApprovalRule.INHERIT:
        default = ApprovalRule.ALWAYS if execution.side_effect is SideEffect.DANGEROUS else ApprovalRule.NEVER
        rule = rules.get(execution.side_effect, default)
    return rule is ApprovalRule.ALWAYS


@dataclass(frozen=True, slots=True)
class CallQuery:
    """Which calls: all that fit everything that is given."""

    state: CallState | None = None
    tool_id: str | None = None
    principal: str | None = None
    task: str | None = None
    due: float | None = None  # those whose `expires_at` is not after this


@dataclass(frozen=True, slots=True)
class CallOrder:
    """One attempt, as a runner is given it. `timeout` in seconds; the caller ends the attempt by cancelling it.
    `created_at`: when the call was asked for, in seconds since the epoch."""

    call_id: str
    tool: Tool
    arguments: Mapping[str, Any]
    principal: str
    attempt: int
    timeout: float
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Produced:
    """A file that a call made; it becomes an artifact."""

    file_name: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a runner brings back: any JSON value, files, and the cost in US dollars where the tool tells it."""

    result: Any
    files: tuple[Produced, ...] = field(default=())
    cost: float | None = None
