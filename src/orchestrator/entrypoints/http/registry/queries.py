"""Questions over nodes, tools and artifacts together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.tool import ToolOrder, ToolQuery, ToolStatus
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.route import (
    REPORTED,
    Limit,
    Skip,
    answer,
    both,
    registry_router,
    rows,
    service_of,
)

router = registry_router("tool queries")
READ = requires(Permission.TOOLS_READ)
Text = Annotated[str | None, Query(max_length=1_000)]
HEALTH = ("node_id", "node_type", "address", "status", "assigned_tools", "active_tools")


@both(router, "GET", "/queries/active-tools-with-nodes")
async def active_tools_with_nodes(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """Enabled tools with their nodes, null without one; by category and name."""
    return rows(await service_of(request).tools.active_with_nodes(limit, skip))


@both(router, "GET", "/queries/tools-by-category-with-tags")
async def tools_by_category_with_tags(
    request: Request,
    category: Text = None,
    skip: Skip = 0,
    limit: Limit = REPORTED,
    principal: Principal = READ,
) -> Response:
    """Enabled tools with their tags and the number of their artifacts; by category and name."""
    return rows(await service_of(request).tools.reports.tagged_tools(category, limit, skip))


@both(router, "GET", "/queries/node-health-status")
async def node_health_status(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """Nodes with the numbers of their tools; by type and status."""
    found = await service_of(request).tools.nodes(limit, skip)
    return answer([{name: row[name] for name in HEALTH} for row in found])


@both(router, "GET", "/queries/node-statistics")
async def node_statistics(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """The same with what their tools have made: `total_artifacts`, `total_storage_bytes`."""
    return answer(await service_of(request).tools.nodes(limit, skip))


@both(router, "GET", "/queries/large-artifacts-by-tool")
async def large_artifacts_by_tool(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """Enabled tools that have made artifacts, of any size; most bytes first."""
    return rows(await service_of(request).tools.reports.makers(limit, skip))


@both(router, "GET", "/queries/search-tools-by-schema")
async def search_tools_by_schema(
    request: Request,
    input_property: Text = None,
    output_property: Text = None,
    skip: Skip = 0,
    limit: Limit = REPORTED,
    principal: Principal = READ,
) -> Response:
    """Enabled tools whose schemas have these names under their top `properties`; by category and name."""
    wanted = ToolQuery(
        status=ToolStatus.ENABLED,
        input_property=input_property,
        output_property=output_property,
        order=ToolOrder.CATEGORY,
    )
    found = await service_of(request).tools.page(wanted, limit, skip)
    return answer(
        [
            {
                "tool_id": tool.tool_id,
                "tool_name": tool.name,
                "name": tool.name,
                "category": tool.category,
                "input_schema": tool.input_schema,
                "output_schema": tool.output_schema,
            }
            for tool in found
        ]
    )
