"""A tool: what it is called, what goes in and comes out, the node that it is on, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from orchestrator.domain.storable import check_storable

STEP = 1e-6  # seconds: a change is at least so much newer than what it changes
NAME_LIMIT, CATEGORY_LIMIT, VERSION_LIMIT, TAG_LIMIT = 100, 50, 20, 50  # characters
DESCRIPTION_LIMIT = 100_000
ATTEMPTS_LIMIT = 10
TIMEOUT_LIMIT = 86_400.0  # seconds for one attempt
COST_LIMIT = 1_000_000.0  # US dollars for one call


class ToolStatus(StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DEPRECATED = "DEPRECATED"


class ToolKind(StrEnum):
    """What runs a call."""

    HTTP = "http"  # a request to a node or to an allowed URL
    MCP = "mcp"  # a tool of an MCP server
    PYTHON = "python"  # a function that the operator registered
    CONTAINER = "container"
    BUILTIN = "builtin"  # comes with the service
    PIPELINE = "pipeline"  # reserved
    AGENT = "agent"  # reserved


class SideEffect(StrEnum):
    """The worst that a call may do. In this order."""

    READ = "read"  # looks at data of this installation
    WRITE = "write"  # changes data of this installation
    EXTERNAL = "external"  # reaches other systems
    DANGEROUS = "dangerous"  # runs commands or code, or what cannot be undone


class ApprovalRule(StrEnum):
    """Whether a person has to agree before each call."""

    INHERIT = "inherit"  # what the operator has set for the side effect
    NEVER = "never"
    ALWAYS = "always"


class ToolSource(StrEnum):
    """Where a tool is written down."""

    REGISTRY = "registry"  # the database; has a UUID
    BUILTIN = "builtin"
    CONFIG = "config"  # the operator's configuration
    MCP = "mcp"  # a connected MCP server


@dataclass(frozen=True, slots=True)
class Execution:
    """How a tool is called. `binding` has the fields of its kind. `timeout` is for one attempt, in seconds (None: the
    operator's default); `cost` is charged for each call that was carried out, in US dollars."""

    kind: ToolKind
    binding: Mapping[str, Any] = field(default_factory=dict)
    side_effect: SideEffect = SideEffect.EXTERNAL
    approval: ApprovalRule = ApprovalRule.INHERIT
    timeout: float | None = None
    attempts: int = 1
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Tool:
    """Times in seconds since the epoch. The category is free text. `put_out` is set while the tool is disabled because
    its node was not active, and cleared by whoever sets the status. A tool without `execution` is only described. The
    id of one that is not in the registry is its name."""

    tool_id: str
    name: str
    category: str
    description: str | None = None
    version: str = "1.0.0"
    status: ToolStatus = ToolStatus.ENABLED
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    target_node_id: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    put_out: bool = False
    tags: tuple[str, ...] = field(default=(), compare=False)  # read only: set by tagging
    execution: Execution | None = None
    source: ToolSource = ToolSource.REGISTRY


def changed(tool: Tool, now: float, **changes: Any) -> Tool:
    """The tool after a change of some fields."""
    if "status" in changes:
        changes["put_out"] = False
    return replace(tool, **changes, updated_at=max(now, tool.updated_at + STEP))


def check_tool(tool: Tool) -> None:
    """Raises InvalidRequest when a database could not keep it as it is."""
    check_storable(tool, tool.tool_id, tool.name)


def folded(text: str) -> str:
    """The form in which tags are compared: without case."""
    return text.casefold()


class ToolOrder(StrEnum):
    """Orders of a list; equal rows in that of their ids."""

    CREATED = "created"
    NAME = "name"
    CATEGORY = "category"  # and by name within one
    RELEVANCE = "relevance"  # how well they fit the text, then the newest; without a text the newest


@dataclass(frozen=True, slots=True)
class ToolQuery:
    """Which tools: all that fit everything that is given. Names, categories and ids exactly; `tag` is a part of one of
    its tags, in any case; a property is a name at the top of a schema; `text` is searched in names, tags, categories
    and descriptions (see `text_search`). `source` other than the registry is answered by the catalogue."""

    status: ToolStatus | None = None
    name: str | None = None
    category: str | None = None
    tag: str | None = None
    input_property: str | None = None
    output_property: str | None = None
    node: str | None = None
    unplaced: bool = False  # only those on no node
    text: str = ""
    kind: ToolKind | None = None
    side_effect: SideEffect | None = None
    source: ToolSource | None = None
    order: ToolOrder = ToolOrder.CREATED


# The numbers of a summary. Large artifacts are over 100,000,000 bytes; orphaned ones name neither tool nor
# task, run or agent.
TOTALS = (
    "total_nodes",
    "active_nodes",
    "nodes_without_tools",
    "nodes_registered_twice",
    "total_tools",
    "active_tools",
    "disabled_tools",
    "deprecated_tools",
    "tools_without_nodes",
    "total_tags",
    "total_artifacts",
    "total_storage_bytes",
    "orphaned_artifacts",
    "large_artifacts",
)
LARGE_BYTES = 100_000_000
