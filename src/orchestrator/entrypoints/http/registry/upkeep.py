"""Maintenance, monitoring and the summary."""

from __future__ import annotations

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.tool import ToolOrder, ToolQuery, ToolStatus
from orchestrator.entrypoints.http.admin.route import audit
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

router = registry_router("tool upkeep")
READ, WRITE = requires(Permission.TOOLS_READ), requires(Permission.TOOLS_WRITE)
CLEAN = requires(Permission.ARTIFACTS_WRITE)


@both(router, "POST", "/maintenance/cleanup-orphaned-artifacts")
async def cleanup_orphaned_artifacts(request: Request, principal: Principal = CLEAN) -> Response:
    """Deletes the artifacts that name neither tool nor task, run or agent, with their bytes; `deleted_count`."""
    service = service_of(request)
    count = await service.tools.remove_orphans(lambda ids: service.artifacts.remove(list(ids), "orphaned"))
    audit(principal, "artifact.cleanup", count=count)
    return answer({"message": f"Deleted {count} orphaned artifacts", "deleted_count": count})


@both(router, "POST", "/maintenance/update-tool-status")
async def update_tool_status(request: Request, principal: Principal = WRITE) -> Response:
    """Disables the enabled tools whose node is not ACTIVE; `updated_count`. With `tools.reenable` those it disabled
    before, whose node is ACTIVE again, are enabled first: `reenabled_count`."""
    tools = service_of(request).tools
    back = await tools.rekindle()
    names = await tools.put_out()
    audit(principal, "tool.status", disabled=list(names[:100]), enabled=list(back[:100]))
    told = f"Disabled {len(names)} tools"
    return answer({"message": told, "updated_count": len(names), "reenabled_count": len(back)})


@both(router, "GET", "/maintenance/tools-without-nodes")
async def tools_without_nodes(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """Enabled tools on no node; by category and name."""
    wanted = ToolQuery(status=ToolStatus.ENABLED, unplaced=True, order=ToolOrder.CATEGORY)
    found = await service_of(request).tools.page(wanted, limit, skip)
    return answer(
        [
            {"tool_id": tool.tool_id, "name": tool.name, "category": tool.category, "status": tool.status.value}
            for tool in found
        ]
    )


@both(router, "GET", "/monitoring/storage-usage-by-category")
async def storage_usage_by_category(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """What the tools of each category have made; most bytes first."""
    return rows(await service_of(request).tools.reports.categories(limit, skip))


@both(router, "GET", "/monitoring/tool-usage-statistics")
async def tool_usage_statistics(
    request: Request, skip: Skip = 0, limit: Limit = REPORTED, principal: Principal = READ
) -> Response:
    """Tools by the number of their artifacts, then the latest first."""
    return rows(await service_of(request).tools.reports.usage(limit, skip))


@both(router, "GET", "/monitoring/data-integrity")
async def data_integrity(request: Request, principal: Principal = READ) -> Response:
    """What may be wrong: rows of `issue` and `count`."""
    issues = {
        "Tools without nodes": "tools_without_nodes",
        "Nodes without tools": "nodes_without_tools",
        "Orphaned artifacts": "orphaned_artifacts",
        "Large artifacts": "large_artifacts",
    }
    totals = await service_of(request).tools.totals(issues.values())
    return answer([{"issue": issue, "count": totals[name]} for issue, name in issues.items()])


@both(router, "GET", "/stats/summary")
async def summary(request: Request, principal: Principal = READ) -> Response:
    """Numbers of nodes, tools, tags and artifacts."""
    return answer(await service_of(request).tools.totals())
