"""Tools and their tags."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.tool import (
    CATEGORY_LIMIT,
    DESCRIPTION_LIMIT,
    NAME_LIMIT,
    VERSION_LIMIT,
    Tool,
    ToolOrder,
    ToolQuery,
    ToolStatus,
)
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.execution import ExecutionBody, execution_view
from orchestrator.entrypoints.http.registry.route import (
    LISTED,
    Limit,
    Skip,
    answer,
    both,
    iso,
    registry_router,
    service_of,
)
from orchestrator.services.tool_calls import trust

router = registry_router("tools")
READ, WRITE = requires(Permission.TOOLS_READ), requires(Permission.TOOLS_WRITE)
NULLABLE = frozenset({"description", "input_schema", "output_schema", "target_node_id", "execution"})
Text = Annotated[str | None, Query(max_length=1_000)]


class NewTool(BaseModel):
    name: str = Field(min_length=1, max_length=NAME_LIMIT, description="Unique.")
    category: str = Field(min_length=1, max_length=CATEGORY_LIMIT, description="Free text.")
    description: str | None = Field(None, max_length=DESCRIPTION_LIMIT)
    version: str = Field("1.0.0", min_length=1, max_length=VERSION_LIMIT)
    status: ToolStatus = ToolStatus.ENABLED
    input_schema: dict[str, Any] | None = Field(None, description="JSON Schema of what goes in.")
    output_schema: dict[str, Any] | None = Field(None, description="JSON Schema of what comes out.")
    target_node_id: UUID | None = None
    execution: ExecutionBody | None = Field(None, description="How it is called; null: it is only described.")


class ToolChange(BaseModel):
    """Absent: as it is. Null is kept where a tool may have it, elsewhere like absent."""

    name: str | None = Field(None, min_length=1, max_length=NAME_LIMIT)
    category: str | None = Field(None, min_length=1, max_length=CATEGORY_LIMIT)
    description: str | None = Field(None, max_length=DESCRIPTION_LIMIT)
    version: str | None = Field(None, min_length=1, max_length=VERSION_LIMIT)
    status: ToolStatus | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    target_node_id: UUID | None = None
    execution: ExecutionBody | None = None


def tool_row(tool: Tool) -> dict[str, Any]:
    return {
        "tool_id": tool.tool_id,
        "name": tool.name,
        "description": tool.description,
        "category": tool.category,
        "version": tool.version,
        "status": tool.status.value,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "target_node_id": tool.target_node_id,
        "created_at": iso(tool.created_at),
        "updated_at": iso(tool.updated_at),
        "tags": list(tool.tags),
        "execution": execution_view(tool.execution),
    }


async def _page(request: Request, wanted: ToolQuery, limit: int, skip: int) -> Response:
    return answer([tool_row(tool) for tool in await service_of(request).tools.page(wanted, limit, skip)])


@both(router, "POST", "/tools/")
async def create_tool(request: Request, body: NewTool, principal: Principal = WRITE) -> Response:
    """Registers a tool. The row, with its `tool_id`. 400 for a node that does not exist, 409 for a name that is taken,
    422."""
    tool = await service_of(request).tools.add(stored_fields(dict(body), principal))
    audit(principal, "tool.add", tool.tool_id, name=tool.name)
    return answer(tool_row(tool))


@both(router, "GET", "/tools/")
async def list_tools(
    request: Request,
    skip: Skip = 0,
    limit: Limit = LISTED,
    status: ToolStatus | None = None,
    category: Text = None,
    tag: Annotated[str | None, Query(max_length=1_000, description="Part of a tag, in any case.")] = None,
    q: Annotated[str | None, Query(max_length=1_000, description="Words in name, description, category or tags.")] = (
        None
    ),
    input_property: Text = None,
    output_property: Text = None,
    node_id: UUID | None = None,
    count: Annotated[bool, Query(description="Tell in X-Total-Count how many fit.")] = False,
    principal: Principal = READ,
) -> Response:
    """Tools that fit all that is given, in the order in which they came."""
    wanted = ToolQuery(
        status=status,
        category=category,
        tag=tag,
        text=q or "",
        order=ToolOrder.RELEVANCE if (q or "").strip() else ToolOrder.CREATED,
        input_property=input_property,
        output_property=output_property,
        node=str(node_id) if node_id is not None else None,
    )
    tools = service_of(request).tools
    headers = {"X-Total-Count": str(await tools.count(wanted))} if count else {}
    return answer([tool_row(tool) for tool in await tools.page(wanted, limit, skip)], headers)


@both(router, "GET", "/tools/active/")
async def active_tools(
    request: Request, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """Tools whose status is ENABLED, by category and name."""
    return await _page(request, ToolQuery(status=ToolStatus.ENABLED, order=ToolOrder.CATEGORY), limit, skip)


@router.get("/tools/name/{tool_name:path}")
async def tool_by_name(request: Request, tool_name: str, principal: Principal = READ) -> Response:
    """The tool with exactly this name, which may hold slashes. 404."""
    return answer(tool_row(await service_of(request).tools.named(tool_name)))


@router.get("/tools/category/{category:path}")
async def tools_of_category(
    request: Request, category: str, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """The tools of exactly this category, by name."""
    return await _page(request, ToolQuery(category=category, order=ToolOrder.CATEGORY), limit, skip)


@router.get("/tools/tags/{tag_search:path}")
async def tools_with_tag(
    request: Request, tag_search: str, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """Enabled tools that have a tag with this text in it, in any case; by category and name."""
    wanted = ToolQuery(status=ToolStatus.ENABLED, tag=tag_search, order=ToolOrder.CATEGORY)
    return await _page(request, wanted, limit, skip)


@both(router, "GET", "/tools/{tool_id}")
async def get_tool(request: Request, tool_id: UUID, principal: Principal = READ) -> Response:
    """One tool. 404, 422."""
    return answer(tool_row(await service_of(request).tools.get(str(tool_id))))


@both(router, "PUT", "/tools/{tool_id}")
async def change_tool(request: Request, tool_id: UUID, body: ToolChange, principal: Principal = WRITE) -> Response:
    """Changes what is given. 400, 404, 409, 422."""
    fields = changed_fields(body, principal)
    tool = await service_of(request).tools.change(str(tool_id), fields)
    audit(principal, "tool.change", tool.tool_id, fields=sorted(fields))
    return answer(tool_row(tool))


@both(router, "DELETE", "/tools/{tool_id}")
async def delete_tool(request: Request, tool_id: UUID, principal: Principal = WRITE) -> Response:
    """Forgets a tool with its tags; its artifacts stay and name no tool. 404, 422."""
    await service_of(request).tools.remove(str(tool_id))
    audit(principal, "tool.remove", str(tool_id))
    return answer({"message": "Tool deleted", "tool_id": str(tool_id)})


@router.post("/tools/{tool_id}/tags/{tag_name:path}")
async def add_tag(request: Request, tool_id: UUID, tag_name: str, principal: Principal = WRITE) -> Response:
    """Adds a tag of 1 to 50 characters; again changes nothing. 400, 404, 422."""
    await service_of(request).tools.tag(str(tool_id), tag_name)
    audit(principal, "tool.tag", str(tool_id), tag=tag_name)
    return answer({"tool_id": str(tool_id), "tag_name": tag_name})


@router.delete("/tools/{tool_id}/tags/{tag_name:path}")
async def remove_tag(request: Request, tool_id: UUID, tag_name: str, principal: Principal = WRITE) -> Response:
    """Removes a tag. 404 when the tool does not have it."""
    await service_of(request).tools.untag(str(tool_id), tag_name)
    audit(principal, "tool.untag", str(tool_id), tag=tag_name)
    return answer({"message": "Tag removed", "tool_id": str(tool_id), "tag_name": tag_name})


def changed_fields(body: ToolChange, principal: Principal) -> dict[str, Any]:
    """What a change gives: null only where a tool may have it. Raises Forbidden."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    return stored_fields({name: one for name, one in given.items() if one is not None or name in NULLABLE}, principal)


def stored_fields(given: dict[str, Any], principal: Principal) -> dict[str, Any]:
    """A body's fields as those of a Tool. Raises Forbidden for an execution that takes more trust."""
    node, body = given.get("target_node_id"), given.get("execution")
    if node is not None:
        given = given | {"target_node_id": str(node)}
    if body is None:
        return given
    execution = body.execution()
    trust.permit(principal, execution)
    return given | {"execution": execution}
