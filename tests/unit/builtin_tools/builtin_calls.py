"""Calls of built-in tools as the service makes them: arguments and results are held to the tool's schemas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.tool_runner import BuiltinTool

Keep = Callable[[bytes], Awaitable[str]]


@dataclass
class Caller:
    tool: BuiltinTool
    principal: str = "anna"

    async def outcome(self, **arguments: Any) -> CallOutcome:
        tool = self.tool.tool
        jsonschema_rs.validate(tool.input_schema, arguments)
        outcome = await self.tool.run(CallOrder("call-1", tool, arguments, self.principal, 1, 30.0))
        jsonschema_rs.validate(tool.output_schema, outcome.result)
        return outcome

    async def __call__(self, **arguments: Any) -> Mapping[str, Any]:
        return (await self.outcome(**arguments)).result
