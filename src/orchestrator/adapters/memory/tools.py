"""Tools in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.adapters.memory.artifacts import MemoryArtifacts
from orchestrator.adapters.memory.registry_nodes import MemoryRegistryNodes
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.registry_node import RegistryStatus
from orchestrator.domain.storable import is_text
from orchestrator.domain.tool import STEP, Tool, ToolQuery, ToolSource, ToolStatus, check_tool
from orchestrator.domain.tool_match import in_order, is_wanted


class MemoryTools:
    """`ToolStore` and `ToolUpkeep` in a dict, beside nodes and artifacts."""

    def __init__(self, nodes: MemoryRegistryNodes, artifacts: MemoryArtifacts) -> None:
        self.all: dict[str, Tool] = {}
        self.uses: dict[str, tuple[int, float]] = {}  # calls that were carried out, and when the last one ended
        self._nodes = nodes
        self._artifacts = artifacts
        nodes.forgotten = self._without_node
        artifacts.is_tool = self.all.__contains__

    async def add(self, tool: Tool) -> None:
        self._check(tool)
        if tool.tool_id in self.all:
            raise Conflict("a row with the same unique value exists")
        self.all[tool.tool_id] = replace(tool, tags=())

    async def get(self, tool_id: str) -> Tool | None:
        return self.all.get(tool_id)

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        return tuple(self.found(wanted)[skip : skip + limit])

    async def count(self, wanted: ToolQuery) -> int:
        return len(self.found(wanted))

    async def save(self, tool: Tool) -> bool:
        self._check(tool)
        known = self.all.get(tool.tool_id)
        if known is None:
            return False
        self.all[tool.tool_id] = replace(tool, tags=known.tags)
        return True

    async def delete(self, tool_id: str) -> bool:
        if self.all.pop(tool_id, None) is None:
            return False
        self.uses.pop(tool_id, None)
        self._artifacts.forget_tool(tool_id)
        return True

    async def tag(self, tool_id: str, name: str, at: float | None) -> bool:
        if not is_text(name):
            raise InvalidRequest("a tag holds a character that cannot be stored")
        known = self.all.get(tool_id)
        if known is None or (at is None and name not in known.tags):
            return False
        tags = {*known.tags, name} if at is not None else {*known.tags} - {name}
        self.all[tool_id] = replace(known, tags=tuple(sorted(tags)))
        return True

    async def put_out(self, now: float) -> tuple[str, ...]:
        here = [
            tool
            for tool in self.all.values()
            if tool.status is ToolStatus.ENABLED and self._node_status(tool) not in (None, RegistryStatus.ACTIVE)
        ]
        return self._change(here, now, ToolStatus.DISABLED)

    async def rekindle(self, now: float) -> tuple[str, ...]:
        here = [
            tool
            for tool in self.all.values()
            if tool.put_out and tool.status is ToolStatus.DISABLED and self._node_status(tool) is RegistryStatus.ACTIVE
        ]
        return self._change(here, now, ToolStatus.ENABLED)

    async def orphans(self, limit: int) -> tuple[str, ...]:
        lost = (
            one.id
            for one in self._artifacts.all.values()
            if one.origin.tool is None
            and not (one.origin.task or one.origin.run or one.origin.agent or one.origin.call)
        )
        return tuple(lost)[:limit]

    def used(self, tool_id: str, at: float) -> None:
        """A call was carried out."""
        if tool_id in self.all:
            count, last = self.uses.get(tool_id, (0, 0.0))
            self.uses[tool_id] = (count + 1, max(last, at))

    def found(self, wanted: ToolQuery) -> list[Tool]:
        """All tools that fit, in order."""
        if wanted.source not in (None, ToolSource.REGISTRY):
            return []
        return in_order((tool for tool in self.all.values() if is_wanted(tool, wanted)), wanted.order, wanted.text)

    def _change(self, tools: Iterable[Tool], now: float, status: ToolStatus) -> tuple[str, ...]:
        names = []
        for tool in tools:
            at = tool.updated_at + STEP if tool.updated_at >= now else now
            put_out = status is ToolStatus.DISABLED
            self.all[tool.tool_id] = replace(tool, status=status, put_out=put_out, updated_at=at)
            names.append(tool.name)
        return tuple(sorted(names))

    def _node_status(self, tool: Tool) -> RegistryStatus | None:
        node = self._nodes.all.get(tool.target_node_id or "")
        return node.status if node is not None else None

    def _check(self, tool: Tool) -> None:
        check_tool(tool)
        if any(one.name == tool.name and one.tool_id != tool.tool_id for one in self.all.values()):
            raise Conflict(f"There is a tool with the name '{tool.name}'.", details={"field": "name"})
        if tool.target_node_id is not None and tool.target_node_id not in self._nodes.all:
            raise InvalidRequest("target_node_id: there is no such node", details={"field": "target_node_id"})

    def _without_node(self, node_id: str) -> None:
        for tool in [one for one in self.all.values() if one.target_node_id == node_id]:
            self.all[tool.tool_id] = replace(tool, target_node_id=None)
