"""Tools: which there are, changing them, and what becomes of them when their nodes change."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from orchestrator.domain import tool as changes
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable
from orchestrator.domain.tool import TAG_LIMIT, Tool, ToolQuery
from orchestrator.ports.tools import Rows, ToolReports, ToolStore, ToolUpkeep
from orchestrator.services.clock import Clock
from orchestrator.services.registry.directory import Directory

LOOK_SECONDS = 5.0  # between two looks at the nodes' states, where tools come back by themselves
AT_ONCE = 500  # orphans
CHECKED = frozenset({"execution", "input_schema", "output_schema", "target_node_id"})
_log = logging.getLogger("orchestrator.tools")
Delete = Callable[[tuple[str, ...]], Awaitable[int]]


class Tools:
    """The registry's tools. Every method raises StorageUnavailable."""

    def __init__(
        self,
        store: ToolStore,
        upkeep: ToolUpkeep,
        reports: ToolReports,
        directory: Directory,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        # Whether tools that were disabled because of their node come back with it: the operator's setting.
        self.reenable: Callable[[], bool] = lambda: False
        # Raises InvalidRequest for a tool that says how it is called, and could not be called so.
        self.check: Callable[[Tool], None] = lambda tool: None
        self.changes = 0  # what was added, changed and removed here since the start of the process
        self.directory = directory
        self.reports = reports
        self._store = store
        self._upkeep = upkeep
        self._clock = clock
        self._new_id = new_id

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        return await self._store.page(wanted, limit, skip)

    async def count(self, wanted: ToolQuery) -> int:
        return await self._store.count(wanted)

    async def get(self, tool_id: str) -> Tool:
        """Raises NotFound."""
        tool = await self._store.get(tool_id)
        if tool is None:
            raise NotFound(f"Tool '{tool_id}' not found")
        return tool

    async def named(self, name: str) -> Tool:
        """Raises NotFound."""
        found = await self._store.page(ToolQuery(name=name), 1, 0)
        if not found:
            raise NotFound(f"Tool '{name[:100]}' not found")
        return found[0]

    async def add(self, fields: Mapping[str, Any]) -> Tool:
        """Registers a tool. Raises InvalidRequest, and Conflict for a name that is taken."""
        now = self._clock.wall()
        tool = Tool(tool_id=self._new_id(), **fields, created_at=now, updated_at=now)
        self.check(tool)
        await self.directory.sync()
        await self._store.add(tool)
        self.changes += 1
        return tool

    async def change(self, tool_id: str, fields: Mapping[str, Any]) -> Tool:
        """Changes the given fields. Raises NotFound, and errors as of `add`."""
        await self.directory.sync()
        tool = changes.changed(await self.get(tool_id), self._clock.wall(), **fields)
        if not fields.keys().isdisjoint(CHECKED):  # whoever only disables a tool need not mend it
            self.check(tool)
        if not await self._store.save(tool):
            raise NotFound(f"Tool '{tool_id}' not found")
        self.changes += 1
        return tool

    async def remove(self, tool_id: str) -> None:
        """Raises NotFound."""
        if not await self._store.delete(tool_id):
            raise NotFound(f"Tool '{tool_id}' not found")
        self.changes += 1

    async def tag(self, tool_id: str, name: str) -> None:
        """Adds a tag, once. Raises NotFound, InvalidRequest."""
        if not 0 < len(name) <= TAG_LIMIT:
            raise InvalidRequest(f"A tag has 1 to {TAG_LIMIT} characters.", details={"field": "tag_name"})
        if not await self._store.tag(tool_id, name, self._clock.wall()):
            raise NotFound(f"Tool '{tool_id}' not found")

    async def untag(self, tool_id: str, name: str) -> None:
        """Raises NotFound when the tool does not have the tag."""
        if not await self._store.tag(tool_id, name, None):
            raise NotFound(f"Tool '{tool_id}' has no such tag")

    # Questions with nodes in them

    async def active_with_nodes(self, limit: int, skip: int) -> Rows:
        """See `ToolReports.active_tools`."""
        await self.directory.sync()
        return await self.reports.active_tools(limit, skip)

    async def nodes(self, limit: int, skip: int) -> Rows:
        """See `ToolReports.nodes`."""
        await self.directory.sync()
        return await self.reports.nodes(limit, skip)

    async def totals(self, names: Collection[str] = changes.TOTALS) -> Mapping[str, int]:
        """See `ToolReports.totals`."""
        await self.directory.sync()
        return await self.reports.totals(names)

    # Upkeep

    async def put_out(self) -> tuple[str, ...]:
        """Disables the enabled tools whose node is not active; the names. One way: only `rekindle`, where the operator
        has set it, or a client enables them again."""
        await self.directory.sync()
        names = await self._upkeep.put_out(self._clock.wall())
        if names:
            self.changes += 1
            _log.info("tools_disabled", extra={"count": len(names), "tools": names[:20]})
        return names

    async def rekindle(self) -> tuple[str, ...]:
        """Enables the tools that were disabled because of their node and whose node is active again; the names. None
        unless the operator has set that."""
        if not self.reenable():
            return ()
        await self.directory.sync()
        names = await self._upkeep.rekindle(self._clock.wall())
        if names:
            self.changes += 1
            _log.info("tools_enabled", extra={"count": len(names), "tools": names[:20]})
        return names

    async def run(self, sleep: Callable[[float], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        """Looks whether tools come back, until cancelled. A database that is away is told to `failed`."""
        while True:
            await sleep(LOOK_SECONDS)
            try:
                await self.rekindle()
            except (StorageUnavailable, Conflict) as error:
                failed(error)

    async def remove_orphans(self, delete: Delete) -> int:
        """Deletes the artifacts that belong to nothing; how many."""
        count = 0
        while found := await self._upkeep.orphans(AT_ONCE):
            gone = await delete(found)
            count += gone
            if not gone:
                break
        return count
