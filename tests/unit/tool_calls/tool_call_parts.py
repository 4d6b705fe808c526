"""Calls of tools on stores in memory, with a tool whose runner the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestrator.adapters.blobs import DiskStaging
from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.adapters.memory.blobs import MemoryBlobs
from orchestrator.adapters.memory.storage import MemoryStorage
from orchestrator.domain.access import Principal, Role
from orchestrator.domain.artifact import Quota
from orchestrator.domain.errors import InvalidRequest, StorageUnavailable
from orchestrator.domain.tool import Execution, SideEffect, Tool, ToolKind, ToolSource
from orchestrator.domain.tool_call import CallOrder, CallOutcome, ToolCall
from orchestrator.ports.tool_calls import ToolCallStore
from orchestrator.services.artifacts import ArtifactRules, Artifacts, Uploads
from orchestrator.services.clock import Clock
from orchestrator.services.tool_calls import CallRules, Calls, Catalogue
from orchestrator.services.tool_calls.attempts import Attempts
from orchestrator.services.tool_calls.conduct import Conduct
from orchestrator.services.tool_calls.results import Results
from orchestrator.services.tool_calls.upkeep import CallUpkeep

ANN = Principal("ann", "Ann", Role.DEVELOPER)
BOB = Principal("bob", "Bob", Role.DEVELOPER)
CHIEF = Principal("chief", "Chief", Role.ADMIN)
VIEWER = Principal("vic", "Vic", Role.VIEWER)
ECHO = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "password": {"type": "string", "writeOnly": True, "minLength": 3}},
    "required": ["text"],
    "additionalProperties": False,
}
Step = Callable[[CallOrder], CallOutcome]


class Script:
    """`ToolRunner` that answers with its arguments, or as the test says: one step for each attempt."""

    def __init__(self) -> None:
        self.orders: list[CallOrder] = []
        self.steps: list[Step | BaseException] = []
        self.begun = asyncio.Event()
        self.held: asyncio.Event | None = None  # attempts wait for it
        self.cancelled = 0

    def hold(self) -> asyncio.Event:
        self.held = asyncio.Event()
        return self.held

    async def run(self, order: CallOrder) -> CallOutcome:
        self.orders.append(order)
        self.begun.set()
        if self.held is not None:
            try:
                await self.held.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if not self.steps:
            return CallOutcome(dict(order.arguments))
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step(order)

    def check(self, tool: Tool) -> None:
        assert tool.execution is not None
        if "bad" in tool.execution.binding:
            raise InvalidRequest("bad")


@dataclass
class Offered:
    """`ToolOffers`."""

    named: dict[str, Tool] = field(default_factory=dict)

    def tools(self) -> Mapping[str, Tool]:
        return self.named


class Away:
    """`ToolCallStore` whose database does not take so many changes of calls."""

    def __init__(self, store: ToolCallStore) -> None:
        self.times = 0
        self.add, self.get, self.page, self.count = store.add, store.get, store.page, store.count
        self.running, self.forget = store.running, store.forget
        self._save = store.save

    async def save(self, call: ToolCall, expected: ToolCall) -> bool:
        if self.times:
            self.times -= 1
            raise StorageUnavailable
        return await self._save(call, expected)


class World:
    """Everything together. Several processes are several worlds on one storage."""

    def __init__(self, folder: Path, storage: MemoryStorage | None = None, owner: str = "one", **rules: Any) -> None:
        self.storage = storage or MemoryStorage()
        self.away = Away(self.storage.tool_calls)
        self.store: ToolCallStore = self.away
        self.script, self.builtins, self.clock = Script(), Offered(), Clock()
        self.people = {one.id: one for one in (ANN, BOB, CHIEF, VIEWER)}
        limits = ArtifactRules(
            max_size=8 << 20,
            max_result=8 << 20,
            quota=Quota(None, 6 << 20),
            keep=None,
            keep_results=60.0,
            upload_patience=60.0,
            sweep=60.0,
            verify_after=60.0,
            verify_rate=0,
        )
        blobs, staging = MemoryBlobs(), DiskStaging(folder / owner)
        self.artifacts = Artifacts(self.storage.artifacts, blobs, self.clock.wall, _new_id, limits)
        uploads = Uploads(self.storage.uploads, staging, blobs, self.artifacts, self.clock.wall, _new_id)
        runners = {ToolKind.HTTP: self.script, ToolKind.BUILTIN: self.script}
        self.catalogue = Catalogue(self.storage.tools, {ToolSource.BUILTIN: self.builtins}, runners)
        schemas = CompiledSchemas()
        self.results = Results(schemas, uploads, self.artifacts)
        self.conduct = Conduct(self.store, Attempts(lambda: 0.0), self.results, self.clock)
        self.conduct.owner = owner
        self.calls = Calls(
            self.catalogue, self.store, schemas, self.conduct, self.clock, _new_id, self.people.get, CallRules(**rules)
        )
        self.upkeep = CallUpkeep(self.store, self.conduct, self.clock, lambda: self.calls.rules, alone=True)
        self._numbers = count(1)

    async def tool(self, name: str = "echo", **changes: Any) -> Tool:
        """One in the registry. Fields of its execution may be among the changes."""
        own = {one: changes.pop(one) for one in tuple(changes) if one in Execution.__dataclass_fields__}
        execution = Execution(**{"kind": ToolKind.HTTP, "side_effect": SideEffect.WRITE, **own})
        tool = Tool(_new_id(), name, "test", input_schema=ECHO, execution=execution, created_at=next(self._numbers))
        tool = replace(tool, **changes)
        await self.storage.tools.add(tool)
        return tool

    def builtin(self, name: str, **changes: Any) -> Tool:
        tool = Tool(name, name, "test", execution=Execution(ToolKind.BUILTIN), source=ToolSource.BUILTIN)
        tool = self.builtins.named[name] = replace(tool, **changes)
        return tool

    async def uses(self) -> dict[str, int]:
        return {row["name"]: row["usage_count"] for row in await self.storage.tool_reports.usage(100, 0)}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0)


def _new_id() -> str:
    return str(uuid4())
