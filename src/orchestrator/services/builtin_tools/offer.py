"""How a tool that comes with the service is described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.domain.errors import Conflict
from orchestrator.domain.tool import ApprovalRule, Execution, SideEffect, Tool, ToolKind, ToolSource, ToolStatus
from orchestrator.domain.tool_call import CallOrder, CallOutcome

Schema = Mapping[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
LISTED: Schema = {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}  # rows of a list


def offered(
    name: str,
    category: str,
    description: str,
    side_effect: SideEffect,
    takes: Schema,
    gives: Schema,
    timeout: float,
    approval: ApprovalRule = ApprovalRule.INHERIT,
) -> Tool:
    """`timeout` in seconds, for one call."""
    execution = Execution(ToolKind.BUILTIN, {}, side_effect, approval, timeout)
    return Tool(
        name,
        name,
        category,
        description,
        input_schema=takes,
        output_schema=gives,
        execution=execution,
        source=ToolSource.BUILTIN,
    )


def fields(properties: Mapping[str, Schema], required: Iterable[str] = (), **more: Any) -> Schema:
    """An object that has no other fields."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def results(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """An object that may have other fields too."""
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def needs(action: str, *names: str) -> Schema:
    """A condition for `allOf`: with this action, these fields are needed."""
    chosen = {"properties": {"action": {"const": action}}, "required": ["action"]}
    return {"if": chosen, "then": {"required": list(names)}}


def described(schema: Schema, text: str, **more: Any) -> Schema:
    return {**schema, "description": text, **more}


def choice(values: Iterable[str], text: str, **more: Any) -> Schema:
    return {"type": "string", "enum": list(values), "description": text, **more}


class Absent:
    """`BuiltinTool` whose library is not installed: it is shown, and a call says what to install."""

    def __init__(self, tool: Tool, extra: str) -> None:
        self.tool = tool
        self.extra = extra

    async def run(self, order: CallOrder) -> CallOutcome:
        raise Conflict(_needs(self.tool.name, self.extra), details={"extra": self.extra})


def absent(tool: Tool, extra: str) -> Absent:
    words = f"{_needs(tool.name, extra)} {tool.description or ''}".strip()
    return Absent(replace(tool, status=ToolStatus.DISABLED, description=words), extra)


def _needs(name: str, extra: str) -> str:
    return f"{name} is not available here: install orchestrator[{extra}]."
