"""Tools and calls as they are shown below /api/v1. Times in seconds since the epoch."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.tool import Tool, ToolSource
from orchestrator.domain.tool_call import CallError, CallState, Decision, ToolCall
from orchestrator.entrypoints.http.registry.execution import execution_view


def tool_view(tool: Tool) -> dict[str, Any]:
    """One that is not in the registry has no times."""
    kept = tool.source is ToolSource.REGISTRY
    return {
        "tool_id": tool.tool_id,
        "name": tool.name,
        "description": tool.description,
        "category": tool.category,
        "version": tool.version,
        "status": tool.status.value,
        "source": tool.source.value,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "target_node_id": tool.target_node_id,
        "created_at": tool.created_at if kept else None,
        "updated_at": tool.updated_at if kept else None,
        "tags": tool.tags,
        "execution": execution_view(tool.execution),
    }


def call_view(call: ToolCall) -> dict[str, Any]:
    return call_item(call) | {"result": call.result}


def call_item(call: ToolCall) -> dict[str, Any]:
    """A row of a list: without the result."""
    return {
        "call_id": call.id,
        "tool_id": call.tool_id,
        "tool": call.tool_name,
        "state": call.state.value,
        "success": call.state is CallState.SUCCEEDED,
        "error": error_view(call.error),
        "artifacts": call.artifacts,
        "cost": call.cost,
        "attempts": call.attempts,
        "arguments": call.arguments,
        "side_effect": call.side_effect.value,
        "principal": call.principal,
        "created_at": call.created_at,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
        "expires_at": call.expires_at,
        "timeout": call.timeout,
        "decision": decision_view(call.decision),
        "idempotency_key": call.idempotency_key,
        "task_id": call.task,
        "run_id": call.run,
        "agent_id": call.agent,
    }


def error_view(error: CallError | None) -> dict[str, Any] | None:
    return None if error is None else {"code": error.code, "message": error.message, "problems": error.problems}


def decision_view(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {"approved": decision.approved, "by": decision.by, "at": decision.at, "reason": decision.reason}
