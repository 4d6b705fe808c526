"""Tools of the kind `python`: functions that the operator has registered, each call in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolFailed
from orchestrator.domain.tool import Execution, Tool, ToolKind, ToolSource
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.callables import Callables, ProcessLimits


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """`function` is `module:function`. `execution` without its binding."""

    function: str
    execution: Execution
    limits: ProcessLimits = field(default_factory=ProcessLimits)
    description: str = ""
    category: str = "python"
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Mapping[str, Any] | None = None


class PythonBinding(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `execution.binding` says: a name of `tools.functions`."""

    function: str


class PythonTool:
    """`ToolRunner`, and `ToolOffers` of the functions themselves."""

    def __init__(self, callables: Callables, functions: Mapping[str, RegisteredFunction]) -> None:
        self._callables = callables
        self._functions = functions
        self._tools = {name: _tool(name, one) for name, one in functions.items()}

    def tools(self) -> Mapping[str, Tool]:
        return self._tools

    def check(self, tool: Tool) -> None:
        if tool.execution is not None:
            self._function(tool.execution.binding)

    async def run(self, order: CallOrder) -> CallOutcome:
        assert order.tool.execution is not None
        found = self._function(order.tool.execution.binding)
        called = await self._callables.call(found.function, msgspec.json.encode(order.arguments), found.limits)
        if called.result is not None:
            return CallOutcome(msgspec.json.decode(called.result))
        if called.crashed:
            raise ToolCrashed(called.error)
        raise ToolFailed(called.error)

    def _function(self, binding: Mapping[str, Any]) -> RegisteredFunction:
        """Only a name of the operator's list leads to code. Raises InvalidRequest."""
        try:
            name = msgspec.convert(dict(binding), PythonBinding).function
        except msgspec.ValidationError as error:
            raise _wrong(str(error)) from None
        found = self._functions.get(name)
        if found is None:
            raise _wrong(f"function: the operator has registered no '{name[:100]}' (tools.functions)")
        return found


def _tool(name: str, one: RegisteredFunction) -> Tool:
    return Tool(
        name,
        name,
        one.category,
        one.description or None,
        input_schema=one.input_schema or None,
        output_schema=one.output_schema,
        execution=replace(one.execution, kind=ToolKind.PYTHON, binding={"function": name}),
        source=ToolSource.CONFIG,
    )


def _wrong(text: str) -> InvalidRequest:
    return InvalidRequest(f"execution.binding: {text}", details={"field": "execution.binding"})
