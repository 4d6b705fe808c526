"""What the parts that carry out tools are given, and what each of them gives back.

Each part has one function in a file of its own below `bootstrap/`: `build_runners`, `build_builtins`, `build_mcp`.
`bootstrap.tool_calls` calls them and puts together the `ToolPart`s that they return.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from orchestrator.adapters.callables import CallProcesses
from orchestrator.domain.tool import ToolKind, ToolSource
from orchestrator.ports.schemas import Schemas
from orchestrator.ports.store import Storage
from orchestrator.ports.tool_runner import ToolOffers, ToolRunner
from orchestrator.ports.upstream import Upstream
from orchestrator.services.artifacts import Artifacts, Uploads
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.registry import Registry
from orchestrator.services.keys import Keyring
from orchestrator.services.registry import Tools
from orchestrator.services.workers import Workers
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Parts of the service that tools may use. `settings` are those of the start."""

    settings: Settings
    storage: Storage
    clock: Clock
    upstream: Upstream
    fleet: Fleet
    health: Health
    registry: Registry
    workers: Workers
    keyring: Keyring
    tools: Tools
    artifacts: Artifacts
    uploads: Uploads
    processes: CallProcesses
    schemas: Schemas


async def nothing_to_start(stack: AsyncExitStack) -> None:
    """For a part without loops."""


def nothing_to_adopt(settings: Settings) -> None:
    """For a part without settings that may change."""


@dataclass(frozen=True, slots=True)
class ToolPart:
    """Runners by kind, tools by where they are written down. `start` keeps loops going until the stack closes; it
    raises only where the service cannot do without. `adopt` is told of changed settings."""

    runners: Mapping[ToolKind, ToolRunner] = field(default_factory=dict)
    offers: Mapping[ToolSource, ToolOffers] = field(default_factory=dict)
    start: Callable[[AsyncExitStack], Awaitable[None]] = nothing_to_start
    adopt: Callable[[Settings], None] = nothing_to_adopt
