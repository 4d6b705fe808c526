"""What is worth a log entry about calls of tools. Arguments and results never are."""

from __future__ import annotations

import logging
from typing import Any

from orchestrator.domain.tool_call import CallState, ToolCall

_log = logging.getLogger("orchestrator.tools")


def ended(call: ToolCall) -> None:
    failed = call.state is CallState.FAILED
    fields = _fields(call) | {
        "state": call.state.value,
        "attempts": call.attempts,
        "seconds": round((call.ended_at or call.created_at) - (call.started_at or call.created_at), 6),
    }
    if failed:
        error = call.error
        code, message = (error.code, error.message[:500]) if error is not None else ("", "")
        _log.warning("tool_call_failed", extra=fields | {"code": code, "error": message})
    else:
        _log.info("tool_call_ended", extra=fields)


def wanted(call: ToolCall) -> None:
    _log.info("approval_wanted", extra=_fields(call) | {"side_effect": call.side_effect.value})


def decided(call: ToolCall) -> None:
    decision = call.decision
    if decision is not None:
        said = {"approved": decision.approved, "by": decision.by, "reason": decision.reason}
        _log.info("approval_decided", extra=_fields(call) | said)


def interrupted(count: int) -> None:
    if count:
        _log.warning("tool_calls_interrupted", extra={"count": count})


def expired(count: int) -> None:
    if count:
        _log.info("approvals_expired", extra={"count": count})


def not_written(error: str) -> None:
    _log.warning("tool_calls_not_written", extra={"error": error})


def _fields(call: ToolCall) -> dict[str, Any]:
    return {"call": call.id, "tool": call.tool_name, "principal": call.principal}
