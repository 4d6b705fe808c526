"""The durable registry of tools."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from orchestrator.domain.tool import TOTALS, Tool, ToolQuery

Rows = tuple[Mapping[str, Any], ...]


class ToolStore(Protocol):
    """Tools with their tags. Names are unique."""

    async def add(self, tool: Tool) -> None:
        """`Conflict` for a name that is taken; `InvalidRequest` for a node that does not exist. Tags are not stored."""

    async def get(self, tool_id: str) -> Tool | None: ...

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        """So many tools, after `skip` others, in the order of the query."""

    async def count(self, wanted: ToolQuery) -> int: ...

    async def save(self, tool: Tool) -> bool:
        """Replaces a tool; whether there was one. Errors as of `add`. Tags stay."""

    async def delete(self, tool_id: str) -> bool:
        """Whether there was one. Its tags go with it; its artifacts stay, and name no tool then."""

    async def tag(self, tool_id: str, name: str, at: float | None) -> bool:
        """Adds a tag, which may be there already, or with None removes it. Whether there was such a tool, or tag."""


class ToolUpkeep(Protocol):
    """What becomes of tools when their nodes change."""

    async def put_out(self, now: float) -> tuple[str, ...]:
        """Disables the enabled tools on nodes that are not active; their names."""

    async def rekindle(self, now: float) -> tuple[str, ...]:
        """Enables those that were disabled so and whose node is active again; their names."""

    async def orphans(self, limit: int) -> tuple[str, ...]:
        """Ids of artifacts that name neither tool nor task, run or agent."""


class ToolReports(Protocol):
    """Questions over nodes, tools and artifacts together. Rows have the names of the contract; sizes are whole
    numbers of bytes, means are floats, times are seconds since the epoch or None."""

    async def active_tools(self, limit: int, skip: int) -> Rows:
        """Enabled tools with their nodes, by category and name: tool_name, category, version, tool_status, node_type,
        address, node_status."""

    async def tagged_tools(self, category: str | None, limit: int, skip: int) -> Rows:
        """Enabled tools, by category and name: name, description, category, tags, artifact_count."""

    async def nodes(self, limit: int, skip: int) -> Rows:
        """By type and status: node_id, node_type, address, status, assigned_tools, active_tools, total_artifacts,
        total_storage_bytes."""

    async def makers(self, limit: int, skip: int) -> Rows:
        """Enabled tools with artifacts, most bytes first: tool_name, category, total_artifacts, total_size_bytes,
        avg_size_bytes, max_size_bytes."""

    async def categories(self, limit: int, skip: int) -> Rows:
        """Most bytes first: category, artifact_count, total_size_bytes, avg_size_bytes, oldest_artifact,
        newest_artifact."""

    async def usage(self, limit: int, skip: int) -> Rows:
        """All tools, most used and then latest first: name, category, usage_count, total_output_size,
        avg_output_size, last_used."""

    async def totals(self, names: Collection[str] = TOTALS) -> Mapping[str, int]:
        """At least these numbers of `domain.tool.TOTALS`."""
