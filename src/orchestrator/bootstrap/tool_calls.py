"""Puts together what carries out tools: the parts of `tool_parts`, the catalogue over them, and the calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

from orchestrator.bootstrap.builtin_tools import build_builtins
from orchestrator.bootstrap.mcp import build_mcp
from orchestrator.bootstrap.nodes import keep
from orchestrator.bootstrap.tool_parts import Surroundings, ToolPart
from orchestrator.bootstrap.tool_runners import build_runners
from orchestrator.domain.tool import ApprovalRule, ToolKind, ToolSource
from orchestrator.ports.telemetry import Family
from orchestrator.ports.tool_runner import ToolOffers, ToolRunner
from orchestrator.services.mcp import McpServers
from orchestrator.services.mcp.families import McpFamilies
from orchestrator.services.mcp.list_changes import ListChanges
from orchestrator.services.tool_calls import CallRules, Calls, Catalogue
from orchestrator.services.tool_calls.attempts import Attempts
from orchestrator.services.tool_calls.conduct import Conduct
from orchestrator.services.tool_calls.definitions import Definitions
from orchestrator.services.tool_calls.families import CallFamilies
from orchestrator.services.tool_calls.hosts import ToolHosts
from orchestrator.services.tool_calls.results import Results
from orchestrator.services.tool_calls.upkeep import CallUpkeep
from orchestrator.settings import Settings

_RAND = random.SystemRandom().random
ORDER = (ToolSource.BUILTIN, ToolSource.CONFIG, ToolSource.MCP)  # in which a name is looked for


@dataclass(slots=True)
class ToolCallParts:
    """What of the calls other parts of the service see."""

    catalogue: Catalogue
    calls: Calls
    hosts: ToolHosts
    mcp: McpServers
    list_changes: ListChanges
    upkeep: CallUpkeep
    families: Callable[[], Iterable[Family]]  # a source of `Metrics`
    parts: tuple[ToolPart, ...]

    async def start(self, stack: AsyncExitStack, owner: str, dead: Collection[str]) -> None:
        """Looks after the calls that earlier processes left, and keeps going until the stack closes. `owner` is what
        this process is called, `dead` those that are known to be gone. Raises StorageUnavailable."""
        self.calls.conduct.owner = owner
        await self.upkeep.recover(dead)
        for part in self.parts:
            await part.start(stack)
        keep(stack, self.upkeep.run(asyncio.sleep))
        stack.push_async_callback(self.calls.stop)

    def adopt(self, settings: Settings) -> None:
        """Changed settings."""
        self.calls.rules = call_rules(settings)
        for part in self.parts:
            part.adopt(settings)


def build_tool_calls(around: Surroundings) -> ToolCallParts:
    """The calls are owned by nobody until `start`."""
    mcp, hosts = build_mcp(around), ToolHosts(around.clock.wall)
    parts = (build_runners(around, hosts), build_builtins(around, mcp.servers, lambda: calls.rules.approvals), mcp.part)
    runners: dict[ToolKind, ToolRunner] = {}
    offers: dict[ToolSource, ToolOffers] = {}
    for part in parts:
        runners |= part.runners
        offers |= part.offers
    storage, clock = around.storage, around.clock
    catalogue = Catalogue(storage.tools, {source: offers[source] for source in ORDER if source in offers}, runners)
    results = Results(around.schemas, around.uploads, around.artifacts)
    conduct = Conduct(storage.tool_calls, Attempts(_RAND), results, clock)
    calls = Calls(
        catalogue,
        storage.tool_calls,
        around.schemas,
        conduct,
        clock,
        lambda: str(uuid4()),
        around.keyring.known,
        call_rules(around.settings),
    )
    alone = not around.settings.database_url.startswith("postgres")  # no other process can use this database
    upkeep = CallUpkeep(storage.tool_calls, conduct, clock, lambda: calls.rules, alone=alone)
    around.tools.check = Definitions(catalogue.check, around.schemas).check
    changes = ListChanges(lambda: around.tools.changes, catalogue, around.artifacts, asyncio.sleep)
    families = _Families(CallFamilies(calls, hosts), McpFamilies(mcp.servers, clock.wall))
    return ToolCallParts(catalogue, calls, hosts, mcp.servers, changes, upkeep, families, parts)


@dataclass(frozen=True, slots=True)
class _Families:
    calls: CallFamilies
    mcp: McpFamilies

    def __call__(self) -> Iterable[Family]:
        return [*self.calls.families(), *self.mcp.families()]


def call_rules(settings: Settings) -> CallRules:
    wanted = settings.tools
    return CallRules(
        timeout=wanted.timeout,
        max_timeout=wanted.max_timeout,
        concurrency=wanted.concurrency,
        patience=wanted.max_wait,
        approval_expires=wanted.approval_expires,
        approvals={side_effect: ApprovalRule(rule) for side_effect, rule in wanted.approvals.items()},
        keep=wanted.keep_calls,
    )
