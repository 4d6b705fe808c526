"""The MCP servers that the service uses, as pipelines call them: their tools and resources by the name of the server.
Connections are the service's own and belong to everybody; nothing is started or ended here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.domain.errors import Forbidden, InvalidRequest, NotAvailable, NotFound, ToolFailed
from orchestrator.domain.mcp import ServerState
from orchestrator.domain.tool import ApprovalRule, SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, needs_approval
from orchestrator.ports.schemas import Schemas
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    LISTED,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)
from orchestrator.services.mcp.peer import Peer
from orchestrator.services.mcp.runner import outcome, told_no
from orchestrator.services.mcp.servers import McpServers

SERVER_ACTIONS = ("connect", "list_tools", "execute_tool", "disconnect")
RESOURCE_ACTIONS = ("list", "read", "subscribe", "unsubscribe")
PATIENCE = 30.0  # seconds for a connection that is being made
TIMEOUT = 300.0
_LIST: Schema = {"type": "array"}
Told = Awaitable[CallOutcome]


def server_offer() -> Tool:
    takes = {
        "action": choice(SERVER_ACTIONS, "What to do."),
        "server_name": described(TEXT, "Name of the server.", minLength=1, maxLength=100),
        "server_config": {
            "type": "object",
            "description": "Accepted and without effect: what a server is stands in the operator's configuration "
            "(tools.mcp_servers) or was added by the API.",
        },
        "tool_name": described(TEXT, "execute_tool: the tool's name at the server.", minLength=1, maxLength=500),
        "tool_params": {"type": "object", "description": "execute_tool: its arguments.", "default": {}},
        "limit": described(LISTED, "list_tools: most."),
        "skip": described(COUNT, "list_tools: tools to leave out first.", default=0),
    }
    made = {
        "action": TEXT,
        "server_name": TEXT,
        "connected": FLAG,
        "capabilities": _LIST,
        "server": {"type": "object"},
        "tools": _LIST,
        "count": COUNT,
        "total": COUNT,
        "tool_name": TEXT,
        "result": {},
    }
    return offered(
        "mcp-server",
        "mcp",
        "Uses an MCP server that is known here. Actions: connect (waits until it is connected), list_tools, "
        "execute_tool (a tool by its name at the server), disconnect (changes nothing: the connection belongs to "
        "everybody).",
        SideEffect.EXTERNAL,
        fields(takes, ("action", "server_name"), allOf=[needs("execute_tool", "tool_name")]),
        results(made, ("action", "server_name", "connected")),
        TIMEOUT,
    )


def resource_offer() -> Tool:
    takes = {
        "action": choice(RESOURCE_ACTIONS, "What to do; subscribe and unsubscribe are not available."),
        "server_name": described(TEXT, "Name of the server; without it all of them.", minLength=1, maxLength=100),
        "uri": described(TEXT, "read: of the resource.", minLength=1, maxLength=4_000),
        "limit": described(LISTED, "list: most."),
        "skip": described(COUNT, "list: resources to leave out first.", default=0),
    }
    made = {
        "action": TEXT,
        "server_name": TEXT,
        "uri": TEXT,
        "resources": _LIST,
        "templates": _LIST,
        "count": COUNT,
        "total": COUNT,
        "contents": _LIST,
        "content": {"type": ["string", "null"]},
        "mime_type": {"type": ["string", "null"]},
    }
    return offered(
        "mcp-resource",
        "mcp",
        "Lists and reads the resources of the MCP servers that are known here. Without server_name, read asks the "
        "server that lists the URI.",
        SideEffect.EXTERNAL,
        fields(takes, ("action",), allOf=[needs("read", "uri")]),
        results(made, ("action",)),
        60.0,
    )


class McpServerTool:
    """`BuiltinTool`. A tool whose calls need a person where its own name is called is not called from here."""

    def __init__(
        self, servers: McpServers, schemas: Schemas, approvals: Callable[[], Mapping[SideEffect, ApprovalRule]]
    ) -> None:
        """`approvals` are the operator's rules, per side effect."""
        self.tool = server_offer()
        self._servers = servers
        self._schemas = schemas
        self._approvals = approvals

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        peer = _peer(self._servers, given["server_name"])
        if given["action"] == "execute_tool":
            return await self._execute(order, peer)
        if given["action"] != "disconnect":
            await _wait(peer, order.timeout)
        told = _about(given["action"], peer)
        if given["action"] == "list_tools":
            told |= _page("tools", [_shown(tool) for tool in peer.tools.values()], given)
        return CallOutcome(told)

    async def _execute(self, order: CallOrder, peer: Peer) -> CallOutcome:
        name, arguments = order.arguments["tool_name"], order.arguments.get("tool_params", {})
        if not peer.tools:
            await _wait(peer, order.timeout)
        tool = next((one for one in peer.tools.values() if _name(one) == name), None)
        if tool is None:
            why = f" ({peer.error})" if peer.error else ""
            raise NotFound(f"The MCP server '{peer.server.name}' has no tool '{name}'{why}")
        self._check(tool, arguments)
        made = outcome(told_no(await peer.call(name, arguments, order.timeout)))
        for problem in self._schemas.violations(tool.output_schema or {}, made.result):
            raise ToolFailed(f"The result does not fit: {problem['path']}: {problem['message']}")
        return CallOutcome(_about("execute_tool", peer) | {"tool_name": name, "result": made.result}, made.files)

    def _check(self, tool: Tool, arguments: Mapping[str, Any]) -> None:
        """As a call of the tool itself. Raises Forbidden, InvalidRequest."""
        dangerous = tool.execution is None or tool.execution.side_effect is SideEffect.DANGEROUS
        if dangerous or needs_approval(tool, self._approvals()):
            raise Forbidden(f"This tool may need a person's approval: call it by its own name, {tool.name}.")
        for problem in self._schemas.violations(tool.input_schema or {}, arguments):
            raise InvalidRequest(
                f"tool_params{problem['path']}: {problem['message']}",
                details={"field": f"tool_params{problem['path']}"},
            )


class McpResourceTool:
    """`BuiltinTool`."""

    def __init__(self, servers: McpServers) -> None:
        self.tool = resource_offer()
        self._servers = servers

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        ways: Mapping[str, Callable[[CallOrder], Told]] = {"list": self._list, "read": self._read}
        if given["action"] not in ways:
            raise NotAvailable(f"{given['action']} is not available: a call of a tool hears of nothing afterwards.")
        return await ways[given["action"]](order)

    async def _list(self, order: CallOrder) -> CallOutcome:
        peers = self._peers(order.arguments)
        resources = [{"server_name": one.server.name, **entry} for one in peers for entry in one.offer.resources]
        templates = [{"server_name": one.server.name, **entry} for one in peers for entry in one.offer.templates]
        return CallOutcome({"action": "list", "templates": templates} | _page("resources", resources, order.arguments))

    async def _read(self, order: CallOrder) -> CallOutcome:
        uri = order.arguments["uri"]
        peers = self._peers(order.arguments)
        if "server_name" not in order.arguments:
            peers = [one for one in peers if any(entry.get("uri") == uri for entry in one.offer.resources)]
        if not peers:
            raise NotFound(f"No MCP server lists '{uri[:200]}': name the server.")
        contents = await peers[0].read(uri, order.timeout)
        first = contents[0] if contents else {}
        told = {"action": "read", "server_name": peers[0].server.name, "uri": uri, "contents": list(contents)}
        return CallOutcome(told | {"content": first.get("text"), "mime_type": first.get("mimeType")})

    def _peers(self, given: Mapping[str, Any]) -> list[Peer]:
        if "server_name" in given:
            return [_peer(self._servers, given["server_name"])]
        return list(self._servers.all())


def _peer(servers: McpServers, name: str) -> Peer:
    try:
        return servers.get(name)
    except NotFound:
        raise NotFound(
            f"There is no MCP server '{name[:100]}': servers stand in the configuration (tools.mcp_servers) or are "
            "added by POST /api/v1/mcp/servers."
        ) from None


async def _wait(peer: Peer, timeout: float) -> None:
    """For a connection that is being made."""
    if peer.state is not ServerState.CONNECTED:
        await peer.refresh(min(PATIENCE, timeout * 0.9))


def _about(action: str, peer: Peer) -> dict[str, Any]:
    about = peer.about
    return {
        "action": action,
        "server_name": peer.server.name,
        "connected": peer.state is ServerState.CONNECTED,
        "capabilities": sorted(about.offers),
        "server": {"name": about.name, "version": about.version, "protocol": about.protocol, "error": peer.error},
    }


def _page(noun: str, entries: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    skip = given.get("skip", 0)
    shown = entries[skip : skip + given.get("limit", 100)]
    return {noun: shown, "count": len(shown), "total": len(entries)}


def _name(tool: Tool) -> Any:
    return tool.execution.binding["tool"] if tool.execution is not None else None


def _shown(tool: Tool) -> dict[str, Any]:
    told = {"name": _name(tool), "description": tool.description, "called": tool.name}
    return told | {"input_schema": tool.input_schema, "output_schema": tool.output_schema}
