"""Calls of tools of MCP servers."""

from __future__ import annotations

import mimetypes
import re
from typing import Any

from orchestrator.domain.artifact import BINARY
from orchestrator.domain.errors import InvalidRequest, ToolFailed
from orchestrator.domain.mcp import SERVER_NAME, McpAnswer, McpFile
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, Produced
from orchestrator.services.mcp.servers import McpServers

MOST_NAME = 500  # characters of a tool's name at its server
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,50}/[a-z0-9!#$&^_.+-]{1,49}\Z")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


class McpRunner:
    """`ToolRunner` of the kind `mcp`. The binding: `server`, and `tool`, the tool's name there."""

    def __init__(self, servers: McpServers) -> None:
        self._servers = servers

    async def run(self, order: CallOrder) -> CallOutcome:
        server, name = _binding(order.tool)
        peer = self._servers.get(server)
        return outcome(told_no(await peer.call(name, order.arguments, order.timeout)))

    def check(self, tool: Tool) -> None:
        _binding(tool)


def told_no(answer: McpAnswer) -> McpAnswer:
    """The answer. Raises ToolFailed when it is the tool's no."""
    if answer.failed:
        raise ToolFailed(answer.text[:2_000] or "The tool reported an error.")
    return answer


def outcome(answer: McpAnswer) -> CallOutcome:
    """The structured result where there is one; otherwise the content blocks, and their text. Bytes become files."""
    result: Any = answer.structured
    if not answer.has_structured:
        result = {"content": list(answer.blocks), "text": answer.text}
    return CallOutcome(result, tuple(_file(file) for file in answer.files))


def _file(file: McpFile) -> Produced:
    kind = file.mime_type.partition(";")[0].strip().lower()
    if not _TYPE.match(kind):
        kind = BINARY
    name = _PLAIN.sub("_", file.name).strip("._")[:200] or "file"
    if "." not in name:
        name += mimetypes.guess_extension(kind) or ""
    return Produced(name, kind, file.content)


def _binding(tool: Tool) -> tuple[str, str]:
    binding = tool.execution.binding if tool.execution is not None else {}
    server, name = binding.get("server"), binding.get("tool")
    if not isinstance(server, str) or not SERVER_NAME.match(server):
        raise InvalidRequest("binding.server: the name of an MCP server", details={"field": "binding.server"})
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME:
        raise InvalidRequest("binding.tool: the tool's name at that server", details={"field": "binding.tool"})
    if unknown := sorted(set(binding) - {"server", "tool"}):
        raise InvalidRequest(f"binding: unknown: {', '.join(unknown)}", details={"field": "binding"})
    return server, name
