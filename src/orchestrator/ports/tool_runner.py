"""What carries out calls of tools, and what tells which tools there are beside the registry's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome


class ToolRunner(Protocol):
    """Carries out calls of one kind of tool."""

    async def run(self, order: CallOrder) -> CallOutcome:
        """One attempt. Cancelling it ends whatever it began. Raises `RequestError` where the arguments or the binding
        are wrong or not allowed (never tried again), `ToolFailed` where the tool says no, `ToolCrashed` where it ended
        or could not be reached, `ToolTimeout`."""

    def check(self, tool: Tool) -> None:
        """Raises InvalidRequest when the tool's binding is not one of this kind. Executes and connects nothing."""


class ToolOffers(Protocol):
    """Tools that are written down elsewhere than in the registry."""

    def tools(self) -> Mapping[str, Tool]:
        """By name, from memory. Names do not change while a tool is there."""


class BuiltinTool(Protocol):
    """A tool that comes with the service: what it is, and how it is carried out."""

    tool: Tool  # kind BUILTIN, source BUILTIN; its id is its name

    async def run(self, order: CallOrder) -> CallOutcome:
        """As `ToolRunner.run`. The arguments fit the tool's input schema."""
