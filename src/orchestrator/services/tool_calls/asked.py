"""What a caller asks for, checked, as a record of a call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.domain.errors import Conflict, InvalidArguments, InvalidRequest, TooLarge
from orchestrator.domain.storable import check_storable
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import ToolCall
from orchestrator.ports.schemas import Schemas
from orchestrator.services.tool_calls.attempts import LONGEST_PAUSE
from orchestrator.services.tool_calls.rules import CallRules

MAX_ARGUMENTS = 1 << 20  # bytes as JSON
MAX_DEPTH = 100
GRACE = 120.0  # seconds that a call may take beside its attempts
GATE = "approval-gate"  # the built-in tool


def digest(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Of the tool and the arguments, whatever the order of their names. Raises InvalidRequest, TooLarge."""
    check_depth(arguments)
    try:
        encoded = msgspec.json.encode([tool.tool_id, arguments], order="deterministic")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"arguments: {error}", details={"field": "arguments"}) from None
    if len(encoded) > MAX_ARGUMENTS:
        raise TooLarge(f"arguments: at most {MAX_ARGUMENTS:,} bytes", details={"max_bytes": MAX_ARGUMENTS})
    return hashlib.sha256(encoded).hexdigest()


def check_depth(value: Any) -> None:
    """Raises InvalidRequest."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return
    raise InvalidRequest(f"arguments: nested deeper than {MAX_DEPTH} levels", details={"field": "arguments"})


def problems_of(schemas: Schemas, tool: Tool, arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Raises InvalidRequest when the tool's input schema is none."""
    return schemas.violations(tool.input_schema, arguments) if tool.input_schema is not None else ()


def refuse(tool: Tool, problems: tuple[Mapping[str, Any], ...]) -> None:
    """Raises InvalidArguments where there are problems."""
    if problems:
        first = problems[0]
        where = f"{first.get('path') or '/'}: {first.get('message', '')}"
        raise InvalidArguments(
            f"The arguments do not fit the input schema of '{tool.name}': {where}",
            details={"tool": tool.name, "problems": problems},
        )


def attempt_timeout(tool: Tool, asked: float | None, rules: CallRules) -> float:
    """Seconds for one attempt. Raises InvalidRequest."""
    if asked is not None and not 0 < asked <= rules.max_timeout:
        raise InvalidRequest(
            f"timeout: over 0, at most {rules.max_timeout:g} s (tools.max_timeout)", details={"field": "timeout"}
        )
    own = tool.execution.timeout if tool.execution is not None else None
    return min(asked or own or rules.timeout, rules.max_timeout)


def over_by(tool: Tool, timeout: float, now: float) -> float:
    """When a call that begins now is over, whatever becomes of it."""
    attempts = max(1, tool.execution.attempts) if tool.execution is not None else 1
    return now + attempts * (timeout + LONGEST_PAUSE) + GRACE


def check_names(*names: str | None) -> None:
    """Raises InvalidRequest for an idempotency key or an id that no database can hold."""
    check_storable(None, *(name for name in names if name is not None))


def check_same(earlier: ToolCall, asked: ToolCall) -> None:
    """Raises Conflict where the key was used for another call."""
    if earlier.digest != asked.digest:
        raise Conflict(
            "This idempotency key was used for a call of another tool or with other arguments.",
            details={"code": "IDEMPOTENCY_CONFLICT", "call_id": earlier.id},
        )


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def keep_to(call: ToolCall, approved: bool, reason: str, arguments: Mapping[str, Any] | None) -> None:
    """What the caller of `approval-gate` has said about the decision. Raises Conflict where nothing may be changed,
    InvalidRequest where a reason is missing."""
    if call.tool_id != GATE:
        return
    changed = arguments is not None and arguments != call.arguments
    if approved and changed and call.arguments.get("allow_modifications") is False:
        raise Conflict("The caller allows no other arguments (allow_modifications).", details={"field": "arguments"})
    if not approved and call.arguments.get("require_reason") is True and not reason.strip():
        raise InvalidRequest("reason: the caller asks for one (require_reason)", details={"field": "reason"})
