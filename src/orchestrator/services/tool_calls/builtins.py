"""The tools that come with the service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.domain.errors import InvalidRequest, NotFound
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.tool_runner import BuiltinTool


class Builtins:
    """`ToolOffers`, and the `ToolRunner` of what it offers."""

    def __init__(self, builtins: Iterable[BuiltinTool]) -> None:
        self._by_name = {one.tool.name: one for one in builtins}
        self._tools = {name: one.tool for name, one in self._by_name.items()}

    def tools(self) -> Mapping[str, Tool]:
        return self._tools

    async def run(self, order: CallOrder) -> CallOutcome:
        found = self._by_name.get(order.tool.name)
        if found is None:
            raise NotFound(f"There is no built-in tool '{order.tool.name}'")
        return await found.run(order)

    def check(self, tool: Tool) -> None:
        raise InvalidRequest("Built-in tools come with the service; they cannot be registered.")
