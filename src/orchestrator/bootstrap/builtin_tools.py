"""Puts together the tools that come with the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from orchestrator.bootstrap.data_tools import build_data_tools
from orchestrator.bootstrap.file_tools import build_file_tools
from orchestrator.bootstrap.tool_parts import Surroundings, ToolPart
from orchestrator.domain.tool import ApprovalRule, SideEffect, ToolKind, ToolSource
from orchestrator.services.builtin_tools.mcp_servers import McpResourceTool, McpServerTool
from orchestrator.services.mcp import McpServers
from orchestrator.services.tool_calls.builtins import Builtins


def build_builtins(
    around: Surroundings, servers: McpServers, approvals: Callable[[], Mapping[SideEffect, ApprovalRule]]
) -> ToolPart:
    """All of them; those whose library is not installed are DISABLED and say what to install."""
    files = build_file_tools(around)
    data = build_data_tools(around, files.files)
    mcp = (McpServerTool(servers, around.schemas, approvals), McpResourceTool(servers))
    builtins = Builtins([*files.tools, *data.tools, *mcp])

    async def start(stack: AsyncExitStack) -> None:
        await files.start(stack)
        await data.start(stack)

    return ToolPart({ToolKind.BUILTIN: builtins}, {ToolSource.BUILTIN: builtins}, start=start, adopt=data.adopt)
