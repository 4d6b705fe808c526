"""All tools: the registry's, and those that are written down elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.domain.artifact import is_artifact_id
from orchestrator.domain.errors import Conflict, InvalidRequest, NotAvailable, NotExecutable, NotFound, ToolDisabled
from orchestrator.domain.tool import Tool, ToolKind, ToolQuery, ToolSource, ToolStatus
from orchestrator.domain.tool_match import in_order, is_wanted
from orchestrator.ports.tool_runner import ToolOffers, ToolRunner
from orchestrator.ports.tools import ToolStore

RESERVED = frozenset({ToolKind.PIPELINE, ToolKind.AGENT})


class Catalogue:
    """The use cases. Every method that waits raises StorageUnavailable."""

    def __init__(
        self,
        registry: ToolStore,
        offers: Mapping[ToolSource, ToolOffers],
        runners: Mapping[ToolKind, ToolRunner],
    ) -> None:
        """`offers` in the order in which a name is looked for."""
        self._registry = registry
        self._offers = offers
        self._runners = runners

    async def find(self, name: str) -> Tool:
        """By the registry's UUID, a name in the registry, or the name of another tool, in this order, but one that can
        be called before one that is only described; `SOURCE:NAME` (`registry:`, `builtin:`, `config:`, `mcp:`) looks
        nowhere else. Raises NotFound."""
        prefix, _, rest = name.partition(":")
        if rest and prefix in set(ToolSource):
            found = await self._exact(ToolSource(prefix), rest)
        else:
            found = await self._registered(name)
            if found is None or (found.execution is None and found.name == name):
                found = self._offered(name) or found
        if found is None:
            raise NotFound(f"Tool '{name[:100]}' not found", details={"tool": name[:100]})
        return found

    async def same(self, tool_id: str) -> Tool:
        """The tool with this id, and never another one with such a name. Raises NotFound."""
        found = await self._registry.get(tool_id) if is_artifact_id(tool_id) else self._offered(tool_id)
        if found is None:
            raise NotFound(f"Tool '{tool_id[:100]}' is not there any more", details={"tool": tool_id[:100]})
        return found

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        """So many tools, after `skip` others: first those that are not in the registry, then the registry's, each in
        the order of the query."""
        offered = self._offered_that_fit(wanted)
        found = offered[skip : skip + limit]
        if len(found) < limit and wanted.source in (None, ToolSource.REGISTRY):
            rest = limit - len(found)
            found += await self._registry.page(replace(wanted, source=None), rest, max(0, skip - len(offered)))
        return tuple(found)

    async def count(self, wanted: ToolQuery) -> int:
        count = len(self._offered_that_fit(wanted))
        if wanted.source in (None, ToolSource.REGISTRY):
            count += await self._registry.count(replace(wanted, source=None))
        return count

    def offered(self) -> Mapping[str, Tool]:
        """Those that are not in the registry, by `SOURCE:NAME`."""
        return {
            f"{source}:{name}": tool for source, offers in self._offers.items() for name, tool in offers.tools().items()
        }

    def check(self, tool: Tool) -> None:
        """Raises InvalidRequest when the registry may not keep the tool's `execution`, and Conflict when it would be
        called in the place of another tool of that name. Executes nothing."""
        execution = tool.execution
        if execution is not None and self._offered(tool.name) is not None:
            raise Conflict(f"There is a tool '{tool.name}' already.", details={"field": "name"})
        if execution is None or execution.kind in RESERVED:
            return
        runner = self._runners.get(execution.kind)
        if runner is None:
            raise InvalidRequest(
                f"execution.kind: this service runs no tools of the kind '{execution.kind}'",
                details={"field": "execution.kind"},
            )
        runner.check(tool)

    def runner(self, tool: Tool) -> ToolRunner:
        """What carries out calls of the tool. Raises ToolDisabled, NotExecutable, and NotAvailable for a kind that is
        reserved or that this service does not run."""
        if tool.status is ToolStatus.DISABLED:
            raise ToolDisabled(f"Tool '{tool.name}' is disabled.{_reason(tool)}", details={"status": tool.status.value})
        if tool.execution is None:
            raise NotExecutable(f"Tool '{tool.name}' is only described: it has no execution.")
        kind = tool.execution.kind
        if kind in RESERVED:
            raise NotAvailable(f"Tools of the kind '{kind}' cannot be called yet.", details={"kind": kind.value})
        runner = self._runners.get(kind)
        if runner is None:
            raise NotAvailable(f"This service runs no tools of the kind '{kind}'.", details={"kind": kind.value})
        return runner

    async def _exact(self, source: ToolSource, name: str) -> Tool | None:
        if source is ToolSource.REGISTRY:
            return await self._registered(name)
        offers = self._offers.get(source)
        return offers.tools().get(name) if offers is not None else None

    async def _registered(self, name: str) -> Tool | None:
        found = await self._registry.get(name.lower()) if is_artifact_id(name.lower()) else None
        if found is not None:
            return found
        named = await self._registry.page(ToolQuery(name=name), 1, 0)
        return named[0] if named else None

    def _offered(self, name: str) -> Tool | None:
        for offers in self._offers.values():
            found = offers.tools().get(name)
            if found is not None:
                return found
        return None

    def _offered_that_fit(self, wanted: ToolQuery) -> list[Tool]:
        found: list[Tool] = []
        for source, offers in self._offers.items():
            if wanted.source in (None, source):
                found += in_order(
                    (tool for tool in offers.tools().values() if is_wanted(tool, wanted)), wanted.order, wanted.text
                )
        return found


def _reason(tool: Tool) -> str:
    """What the description of a built-in tool that is off begins with: how it is turned on."""
    if tool.source is not ToolSource.BUILTIN or not tool.description:
        return ""
    return f" {tool.description.partition('. ')[0].rstrip('.')}."
