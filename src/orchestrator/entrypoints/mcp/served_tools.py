"""Our tools to MCP clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types
from mcp import MCPError

from orchestrator.domain.access import Principal
from orchestrator.domain.errors import Conflict, InvalidArguments, NotFound, OrchestratorError
from orchestrator.domain.tool import Tool, ToolQuery, ToolStatus
from orchestrator.domain.tool_call import CallState, ToolCall
from orchestrator.entrypoints.mcp.naming import artifact_uri, hints, mcp_name, object_schema, own_name, result_schema
from orchestrator.services.tool_calls.calls import Calls

PAGE = 100
CURSOR_LIMIT = 1_000_000_000


class ServedTools:
    """What `tools/list` and `tools/call` do."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def page(self, cursor: str | None) -> types.ListToolsResult:
        """Enabled tools that can be called. Raises MCPError for a cursor that is none of ours."""
        skip = read_cursor(cursor)
        found = await self._calls.catalogue.page(ToolQuery(status=ToolStatus.ENABLED), PAGE, skip)
        shown = [described(tool) for tool in found if self._executable(tool)]
        following = str(skip + PAGE) if len(found) == PAGE else None
        return types.ListToolsResult(tools=shown, next_cursor=following, ttl_ms=0, cache_scope="private")

    async def call(self, name: str, arguments: dict[str, Any], who: Principal) -> types.CallToolResult:
        """One call, from its beginning to its end; a client that leaves ends it. Raises MCPError for a name that no
        tool has."""
        try:
            tool = await self._calls.catalogue.find(own_name(name))
            call = await self._calls.call(own_name(name), arguments, who, wait=0)
            return answered(tool, await self._ended(call, who))
        except NotFound as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from None
        except InvalidArguments as error:
            return failed(error.message, {"code": error.code, "problems": error.details.get("problems", ())})
        except OrchestratorError as error:
            return failed(error.message, {"code": error.code, **error.details})

    async def _ended(self, call: ToolCall, who: Principal) -> ToolCall:
        try:
            while call.state is CallState.RUNNING:
                call = await self._calls.ended(call.id, who, wait=30)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(call, who))
            raise
        return call

    async def _cancel(self, call: ToolCall, who: Principal) -> None:
        try:
            await self._calls.cancel(call.id, who)
        except (Conflict, NotFound):
            return  # it is over

    def _executable(self, tool: Tool) -> bool:
        try:
            self._calls.catalogue.runner(tool)
        except OrchestratorError:
            return False
        return True


def read_cursor(cursor: str | None) -> int:
    """How many entries come before. Raises MCPError."""
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor[:20]) > CURSOR_LIMIT:
        raise MCPError(types.INVALID_PARAMS, "cursor: not one of this server")
    return int(cursor)


def described(tool: Tool) -> types.Tool:
    name = mcp_name(tool)
    effect = tool.execution.side_effect if tool.execution is not None else None
    return types.Tool(
        name=name,
        title=tool.name if name != tool.name else None,
        description=tool.description or tool.name,  # the protocol's conformance checks want one
        input_schema=object_schema(tool.input_schema),
        output_schema=result_schema(tool.output_schema),
        annotations=types.ToolAnnotations(**hints(effect)) if effect is not None else None,
    )


def answered(tool: Tool, call: ToolCall) -> types.CallToolResult:
    """A call's record as a result. The ids are for people who look for it."""
    meta = {"orchestrator/callId": call.id}
    if call.state is CallState.PENDING_APPROVAL:
        words = f"A person has to approve this call first. Its id among the approvals: {call.id}"
        return failed(words, {"code": "approval_required", "approval_id": call.id}, meta)
    if call.state is not CallState.SUCCEEDED:
        error = call.error
        if error is None:
            return failed(f"The call is {call.state.value}.", {"code": call.state.value.lower()}, meta)
        return failed(error.message, {"code": error.code, "problems": error.problems}, meta)
    links: list[types.ContentBlock] = [types.ResourceLink(name=one, uri=artifact_uri(one)) for one in call.artifacts]
    if _is_elsewhere(call):
        large = f"The result is too large for an answer; it is the artifact {call.result['artifact_id']}"
        wanted = result_schema(tool.output_schema) is not None
        return types.CallToolResult(content=[_text(large), *links], is_error=wanted, _meta=meta)
    structured = {"structured_content": call.result} if isinstance(call.result, dict) else {}
    words = call.result if isinstance(call.result, str) else _json(call.result)
    return types.CallToolResult(content=[_text(words), *links], _meta=meta, **structured)


def failed(message: str, details: dict[str, Any], meta: dict[str, Any] | None = None) -> types.CallToolResult:
    """An error that a model can read, and correct itself."""
    told = {key: value for key, value in details.items() if value not in ((), [], None)}
    return types.CallToolResult(content=[_text(message), _text(_json(told))], is_error=True, _meta=meta)


def _is_elsewhere(call: ToolCall) -> bool:
    found = call.result
    return isinstance(found, dict) and bool(call.artifacts) and found.get("artifact_id") == call.artifacts[-1]


def _text(words: str) -> types.TextContent:
    return types.TextContent(text=words)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else str(value)
