"""Questions over nodes, tools and artifacts together, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.adapters.memory.artifacts import MemoryArtifacts
from orchestrator.adapters.memory.registry_nodes import MemoryRegistryNodes
from orchestrator.adapters.memory.tools import MemoryTools
from orchestrator.domain.artifact import Artifact
from orchestrator.domain.registry_node import RegistryStatus
from orchestrator.domain.tool import LARGE_BYTES, TOTALS, Tool, ToolOrder, ToolQuery, ToolStatus
from orchestrator.ports.tools import Rows

ENABLED = ToolQuery(status=ToolStatus.ENABLED, order=ToolOrder.CATEGORY)


class MemoryToolReports:
    """`ToolReports` over the other stores."""

    def __init__(self, nodes: MemoryRegistryNodes, tools: MemoryTools, artifacts: MemoryArtifacts) -> None:
        self._nodes = nodes
        self._tools = tools
        self._artifacts = artifacts

    async def active_tools(self, limit: int, skip: int) -> Rows:
        rows = []
        for tool in self._tools.found(ENABLED)[skip : skip + limit]:
            node = self._nodes.all.get(tool.target_node_id or "")
            rows.append(
                {
                    "tool_name": tool.name,
                    "category": tool.category,
                    "version": tool.version,
                    "tool_status": tool.status.value,
                    "node_type": node.node_type.value if node else None,
                    "address": node.address if node else None,
                    "node_status": node.status.value if node else None,
                }
            )
        return tuple(rows)

    async def tagged_tools(self, category: str | None, limit: int, skip: int) -> Rows:
        made = self._made()
        tools = [tool for tool in self._tools.found(ENABLED) if category in (None, tool.category)]
        return tuple(
            {
                "name": tool.name,
                "description": tool.description,
                "category": tool.category,
                "tags": list(tool.tags),
                "artifact_count": len(made.get(tool.tool_id, ())),
            }
            for tool in tools[skip : skip + limit]
        )

    async def nodes(self, limit: int, skip: int) -> Rows:
        made = self._made()
        nodes = sorted(
            self._nodes.all.values(), key=lambda one: (one.node_type, one.status, one.created_at, one.node_id)
        )
        rows = []
        for node in nodes[skip : skip + limit]:
            tools = [tool for tool in self._tools.all.values() if tool.target_node_id == node.node_id]
            sizes = [one.size for tool in tools for one in made.get(tool.tool_id, ())]
            rows.append(
                {
                    "node_id": node.node_id,
                    "node_type": node.node_type.value,
                    "address": node.address,
                    "status": node.status.value,
                    "assigned_tools": len(tools),
                    "active_tools": sum(tool.status is ToolStatus.ENABLED for tool in tools),
                    "total_artifacts": len(sizes),
                    "total_storage_bytes": sum(sizes),
                }
            )
        return tuple(rows)

    async def makers(self, limit: int, skip: int) -> Rows:
        made = self._made()
        found = [(tool, _sizes(made[tool.tool_id])) for tool in self._tools.found(ENABLED) if tool.tool_id in made]
        found.sort(key=lambda pair: (-sum(pair[1]), pair[0].name))
        return tuple(
            {
                "tool_name": tool.name,
                "category": tool.category,
                "total_artifacts": len(sizes),
                "total_size_bytes": sum(sizes),
                "avg_size_bytes": sum(sizes) / len(sizes),
                "max_size_bytes": max(sizes),
            }
            for tool, sizes in found[skip : skip + limit]
        )

    async def categories(self, limit: int, skip: int) -> Rows:
        made = self._made()
        by_name: dict[str, list[Artifact]] = {}
        for tool in self._tools.all.values():
            by_name.setdefault(tool.category, []).extend(made.get(tool.tool_id, ()))
        rows = [
            {
                "category": name,
                "artifact_count": len(found),
                "total_size_bytes": sum(_sizes(found)),
                "avg_size_bytes": sum(_sizes(found)) / len(found) if found else 0.0,
                "oldest_artifact": min((one.created_at for one in found), default=None),
                "newest_artifact": max((one.created_at for one in found), default=None),
            }
            for name, found in sorted(by_name.items())
        ]
        rows.sort(key=_bytes, reverse=True)
        return tuple(rows[skip : skip + limit])

    async def usage(self, limit: int, skip: int) -> Rows:
        made = self._made()
        rows = [
            _usage(tool, made.get(tool.tool_id, ()), *self._tools.uses.get(tool.tool_id, (0, 0.0)))
            for tool in self._tools.found(ToolQuery(order=ToolOrder.NAME))
        ]
        rows.sort(key=lambda row: (row["usage_count"], row["last_used"] or 0.0), reverse=True)
        return tuple(rows[skip : skip + limit])

    async def totals(self, names: Collection[str] = TOTALS) -> Mapping[str, int]:
        nodes, tools = self._nodes.all.values(), self._tools.all.values()
        artifacts = self._artifacts.all.values()
        statuses = Counter(tool.status for tool in tools)
        used = {tool.target_node_id for tool in tools}
        enabled = ToolQuery(status=ToolStatus.ENABLED, unplaced=True)
        return {
            "total_nodes": len(nodes),
            "active_nodes": sum(node.status is RegistryStatus.ACTIVE for node in nodes),
            "nodes_without_tools": sum(node.node_id not in used for node in nodes),
            "nodes_registered_twice": len(nodes) - len({(node.node_type, node.address) for node in nodes}),
            "total_tools": len(tools),
            "active_tools": statuses[ToolStatus.ENABLED],
            "disabled_tools": statuses[ToolStatus.DISABLED],
            "deprecated_tools": statuses[ToolStatus.DEPRECATED],
            "tools_without_nodes": len(self._tools.found(enabled)),
            "total_tags": sum(len(tool.tags) for tool in tools),
            "total_artifacts": len(artifacts),
            "total_storage_bytes": sum(_sizes(list(artifacts))),
            "orphaned_artifacts": len(await self._tools.orphans(len(artifacts))),
            "large_artifacts": sum(one.size > LARGE_BYTES for one in artifacts),
        }

    def _made(self) -> dict[str, list[Artifact]]:
        """Artifacts by tool."""
        found: dict[str, list[Artifact]] = {}
        for one in self._artifacts.all.values():
            if one.origin.tool is not None:
                found.setdefault(one.origin.tool, []).append(one)
        return found


def _sizes(artifacts: Sequence[Artifact]) -> list[int]:
    return [one.size for one in artifacts]


def _bytes(row: Mapping[str, Any]) -> int:
    found: int = row["total_size_bytes"]
    return found


def _usage(tool: Tool, made: Sequence[Artifact], calls: int, called_at: float) -> dict[str, Any]:
    sizes = _sizes(made)
    return {
        "name": tool.name,
        "category": tool.category,
        "usage_count": calls + sum(not one.origin.call for one in made),
        "total_output_size": sum(sizes),
        "avg_output_size": sum(sizes) / len(sizes) if sizes else 0.0,
        "last_used": max([called_at, *(one.created_at for one in made)]) or None,
    }
