"""All tools, the registry's and those written down elsewhere: found, changed, called. A path names a tool by its id or
its name, which may hold slashes; `builtin:NAME` and the like are exact."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import Conflict
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.domain.tool import SideEffect, Tool, ToolKind, ToolOrder, ToolQuery, ToolSource, ToolStatus
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.tools import NewTool, ToolChange, changed_fields, stored_fields
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.entrypoints.http.tools.body import Arguments, CallBody, documented, read
from orchestrator.entrypoints.http.tools.view import call_view, tool_view

router = tasks_router("tools")
READ, WRITE = requires(Permission.TOOLS_READ), requires(Permission.TOOLS_WRITE)
CALL = requires(Permission.TOOLS_CALL)
MOST_LISTED = 1_000
Text = Annotated[str | None, Query(max_length=1_000)]


@router.get("/tools")
async def list_tools(
    request: Request,
    q: Annotated[str, Query(max_length=1_000, description="Words in name, description, category or tags.")] = "",
    tag: Annotated[str | None, Query(max_length=1_000, description="Part of a tag, in any case.")] = None,
    category: Text = None,
    kind: ToolKind | None = None,
    source: ToolSource | None = None,
    side_effect: SideEffect | None = None,
    status: ToolStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    skip: Annotated[int, Query(ge=0, lt=INTEGER_LIMIT)] = 0,
    principal: Principal = READ,
) -> Response:
    """Tools that fit all that is given, by name. First come those of the service itself, of its configuration and of
    MCP servers, then the registry's. `total` counts all that fit."""
    wanted = ToolQuery(
        status=status,
        category=category,
        tag=tag,
        text=q,
        kind=kind,
        source=source,
        side_effect=side_effect,
        order=ToolOrder.RELEVANCE if q.strip() else ToolOrder.NAME,
    )
    catalogue = service_of(request).catalogue
    found = [tool_view(tool) for tool in await catalogue.page(wanted, limit, skip)]
    return answer(request, {"tools": found, "total": await catalogue.count(wanted), "limit": limit, "skip": skip})


@router.post("/tools", status_code=201, openapi_extra=documented(NewTool))
async def create(request: Request, principal: Principal = WRITE) -> Response:
    """Registers a tool. 400 names the field that is wrong, also in `execution`; 409 for a name that is taken."""
    body = await read(request, NewTool)
    tool = await service_of(request).tools.add(stored_fields(dict(body), principal))
    audit(principal, "tool.add", tool.tool_id, name=tool.name)
    return answer(request, {"tool_id": tool.tool_id, "tool": tool_view(tool)}, status=201)


@router.post("/tools/{tool_name:path}/call", openapi_extra=documented(CallBody))
async def call(request: Request, tool_name: str, principal: Principal = CALL) -> Response:
    """Calls a tool. The answer is the call: 200 when it has ended, well or not (`success`, `error`); 202 while it
    waits for approval or, after `wait`, still runs. 404; 409 for a tool that is disabled or only described, and for an
    idempotency key of another call; 422 with `details.problems` when the arguments do not fit; 501 for kinds that
    cannot be called yet; 503 when too many calls run."""
    body = await read(request, CallBody)
    called = await service_of(request).tool_calls.call(
        tool_name,
        body.arguments,
        principal,
        idempotency_key=body.idempotency_key or request.headers.get("idempotency-key") or None,
        timeout=body.timeout,
        wait=body.wait,
    )
    return answer(request, call_view(called), status=200 if called.state.final else 202)


@router.post("/tools/{tool_name:path}/validate", openapi_extra=documented(Arguments))
async def validate(request: Request, tool_name: str, principal: Principal = READ) -> Response:
    """Whether a call with these arguments would be taken; nothing is called. `problems` has `path`, `message` and
    `schema_path` of each. 404."""
    body = await read(request, Arguments)
    problems = await service_of(request).tool_calls.validate(tool_name, body.arguments)
    return answer(request, {"valid": not problems, "problems": list(problems)})


@router.get("/tools/{tool_name:path}")
async def show(request: Request, tool_name: str, principal: Principal = READ) -> Response:
    """One tool. 404."""
    return answer(request, {"tool": tool_view(await service_of(request).catalogue.find(tool_name))})


@router.put("/tools/{tool_name:path}", openapi_extra=documented(ToolChange))
async def change(request: Request, tool_name: str, principal: Principal = WRITE) -> Response:
    """Changes what is given of a tool of the registry; `execution` as a whole. 400, 404; 409 for a tool that is not
    the registry's, and for a name that is taken."""
    fields = changed_fields(await read(request, ToolChange), principal)
    tool = await service_of(request).tools.change(await _registered(request, tool_name), fields)
    audit(principal, "tool.change", tool.tool_id, fields=sorted(fields))
    return answer(request, {"tool_id": tool.tool_id, "tool": tool_view(tool)})


@router.delete("/tools/{tool_name:path}")
async def remove(request: Request, tool_name: str, principal: Principal = WRITE) -> Response:
    """Forgets a tool of the registry with its tags; its artifacts and calls stay. 404; 409 for one that is not the
    registry's."""
    tool_id = await _registered(request, tool_name)
    await service_of(request).tools.remove(tool_id)
    audit(principal, "tool.remove", tool_id)
    return answer(request, {"tool_id": tool_id}, message="Tool deleted")


async def _registered(request: Request, name: str) -> str:
    """The id. Raises NotFound, and Conflict for a tool that is written down elsewhere."""
    tool: Tool = await service_of(request).catalogue.find(name)
    if tool.source is not ToolSource.REGISTRY:
        raise Conflict(
            f"Tool '{tool.name}' is not in the registry, so it cannot be changed here.",
            details={"source": tool.source.value},
        )
    return tool.tool_id
