"""MCP servers whose tools, resources and prompts are used here. Times in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.mcp.view import server_view, tool_view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, described, read_body, service_of, tasks_router
from orchestrator.services.mcp import McpServers
from orchestrator.settings.mask import mask_url

router = tasks_router("mcp")
READ, WRITE, CALL = requires(Permission.TOOLS_READ), requires(Permission.TOOLS_WRITE), requires(Permission.TOOLS_CALL)
TIMEOUT = 30.0  # seconds for what a server is asked
Limit = Annotated[int, Query(ge=1, le=1_000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
STARTED = frozenset({"command", "args", "env", "cwd"})
ADDED = frozenset({"name", "url", "headers"})


def servers_of(request: Request) -> McpServers:
    return service_of(request).mcp


@router.get("/mcp/servers")
async def list_servers(request: Request, principal: Principal = READ) -> Response:
    """The servers, by name, with the state of their connections."""
    now = service_of(request).clock.wall()
    found = [server_view(peer, now) for peer in servers_of(request).all()]
    return answer(request, {"servers": found, "count": len(found)})


@router.post(
    "/mcp/servers",
    openapi_extra=described(
        {"name": "1 to 40 of a-z, 0-9, '-'.", "url": "http or https.", "headers": "Sent with every request."}
    ),
)
async def add_server(request: Request, principal: Principal = WRITE) -> Response:
    """Adds a server at a URL where `tools.mcp_hosts` allows it; 201. Commands are started from the configuration only.
    400, 409."""
    name, url, headers = _told(await read_body(request))
    peer = await servers_of(request).add(name, url, headers)
    audit(principal, "mcp_server.add", name, url=mask_url(url))
    return answer(request, {"server": server_view(peer, service_of(request).clock.wall())}, status=201)


@router.get("/mcp/servers/{name}")
async def get_server(request: Request, name: str, principal: Principal = READ) -> Response:
    """One server. 404."""
    peer = servers_of(request).get(name)
    return answer(request, {"server": server_view(peer, service_of(request).clock.wall())})


@router.delete("/mcp/servers/{name}")
async def remove_server(request: Request, name: str, principal: Principal = WRITE) -> Response:
    """Removes a server that was added by the API. 404, 409."""
    service = service_of(request)
    server = await service.mcp.remove(name)
    await service.directory.drop(server.node_id)
    audit(principal, "mcp_server.remove", name)
    return answer(request, {"name": name})


@router.post("/mcp/servers/{name}/refresh")
async def refresh_server(request: Request, name: str, principal: Principal = WRITE) -> Response:
    """Reads the server's lists now; connects now where it is not connected. 404."""
    peer = servers_of(request).get(name)
    await peer.refresh(TIMEOUT)
    return answer(request, {"server": server_view(peer, service_of(request).clock.wall())})


@router.get("/mcp/servers/{name}/tools")
async def list_tools(
    request: Request, name: str, limit: Limit = 100, offset: Offset = 0, principal: Principal = READ
) -> Response:
    """The server's tools, under the names by which they are called here. 404."""
    tools = [tool_view(tool) for tool in servers_of(request).get(name).tools.values()]
    return _page(request, "tools", tools, limit, offset)


@router.get("/mcp/servers/{name}/resources")
async def list_resources(
    request: Request, name: str, limit: Limit = 100, offset: Offset = 0, principal: Principal = READ
) -> Response:
    """The server's resources, as the protocol writes them, and its `templates`. 404."""
    peer = servers_of(request).get(name)
    return _page(request, "resources", peer.offer.resources, limit, offset, templates=peer.offer.templates)


@router.get("/mcp/servers/{name}/resources/read")
async def read_resource(
    request: Request,
    name: str,
    uri: Annotated[str, Query(min_length=1, max_length=4_000)],
    principal: Principal = CALL,
) -> Response:
    """Asks the server for a resource: `contents`, each with `text`, or `blob` in Base64. 404, 502, 504."""
    contents = await servers_of(request).get(name).read(uri, TIMEOUT)
    return answer(request, {"contents": contents})


@router.get("/mcp/servers/{name}/prompts")
async def list_prompts(
    request: Request, name: str, limit: Limit = 100, offset: Offset = 0, principal: Principal = READ
) -> Response:
    """The server's prompts, as the protocol writes them. 404."""
    return _page(request, "prompts", servers_of(request).get(name).offer.prompts, limit, offset)


@router.post(
    "/mcp/servers/{name}/prompts/{prompt}",
    openapi_extra=described({"arguments": "Texts by name."}, required=False),
)
async def get_prompt(request: Request, name: str, prompt: str, principal: Principal = CALL) -> Response:
    """Asks the server for a prompt: `description`, `messages`. 404, 502, 504."""
    body = await read_body(request)
    given = _texts(body.pop("arguments", {}), "arguments")
    if body:
        raise InvalidRequest(f"Unknown: {', '.join(sorted(body))}", details={"field": min(body)})
    found = await servers_of(request).get(name).prompt(prompt, given, TIMEOUT)
    return answer(request, dict(found))


def _page(request: Request, noun: str, entries: Sequence[Any], limit: int, offset: int, **more: Any) -> Response:
    shown = entries[offset : offset + limit]
    return answer(request, {noun: shown, "count": len(shown), "total": len(entries), **more})


def _told(body: Mapping[str, Any]) -> tuple[str, str, Mapping[str, str]]:
    """Name, URL and headers. Raises InvalidRequest."""
    if started := sorted(STARTED & body.keys()):
        raise InvalidRequest(
            f"{', '.join(started)}: commands are started from the operator's configuration only (tools.mcp_servers)",
            details={"field": started[0]},
        )
    if unknown := sorted(body.keys() - ADDED):
        raise InvalidRequest(f"Unknown: {', '.join(unknown)}", details={"field": unknown[0]})
    for field in ("name", "url"):
        if not isinstance(body.get(field), str):
            raise InvalidRequest(f"{field}: a text", details={"field": field})
    return body["name"], body["url"], _texts(body.get("headers", {}), "headers")


def _texts(value: object, field: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidRequest(f"{field}: an object of texts", details={"field": field})
    return value
