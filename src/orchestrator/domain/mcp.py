"""Servers of the Model Context Protocol: how they are reached, what they offer, and what becomes of it here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.domain.tool import (
    DESCRIPTION_LIMIT,
    NAME_LIMIT,
    VERSION_LIMIT,
    Execution,
    SideEffect,
    Tool,
    ToolKind,
    ToolSource,
)

SERVER_NAME = re.compile(r"[a-z0-9-]{1,40}\Z")
MOST_SERVERS = 1_000
CATEGORY = "mcp"
DIVIDER = "__"  # between the server's name and the tool's
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")


class ServerState(StrEnum):
    CONNECTING = "connecting"  # not connected yet, or again
    CONNECTED = "connected"
    FAILED = "failed"  # the last attempt failed; the next one is due at `retry_at`


class ServerOrigin(StrEnum):
    CONFIG = "config"
    API = "api"


@dataclass(frozen=True, slots=True)
class McpServer:
    """Either a command that is started here (only from the operator's configuration) or a URL. `headers` and `env` may
    hold secrets. `timeout`: of a call, in seconds; None: what the order says. `trust_annotations`: whether what the
    server says about the side effects of its tools is believed."""

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    trust_annotations: bool = False
    origin: ServerOrigin = ServerOrigin.CONFIG
    created_at: float = 0.0  # seconds since the epoch; 0 for those of the configuration

    @property
    def transport(self) -> str:
        return "stdio" if self.command else "http"

    @property
    def address(self) -> str:
        return self.url or f"stdio:{self.name}"

    @property
    def node_id(self) -> str:
        """Its id among the nodes of the registry."""
        return f"mcp:{self.name}"


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it."""

    name: str
    description: str | None = None
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Mapping[str, Any] | None = None
    read_only: bool | None = None
    destructive: bool | None = None


@dataclass(frozen=True, slots=True)
class McpAbout:
    """What a server says of itself when the connection is made."""

    name: str = ""
    version: str = ""
    protocol: str = ""
    instructions: str | None = None
    offers: frozenset[str] = frozenset()  # of tools, resources, prompts


@dataclass(frozen=True, slots=True)
class McpFile:
    """Bytes in an answer."""

    mime_type: str
    content: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class McpAnswer:
    """The answer to a call. `structured` counts where `has_structured`; `blocks` are the content blocks as JSON, bytes
    taken out: where a block had some, its `file` is the index in `files`."""

    failed: bool
    blocks: tuple[Mapping[str, Any], ...] = ()
    structured: Any = None
    has_structured: bool = False
    files: tuple[McpFile, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(block["text"] for block in self.blocks if block.get("type") == "text")


@dataclass(frozen=True, slots=True)
class McpOffer:
    """Everything that a server offers. Resources, templates and prompts as the protocol writes them."""

    tools: tuple[McpTool, ...] = ()
    resources: tuple[Mapping[str, Any], ...] = ()
    templates: tuple[Mapping[str, Any], ...] = ()
    prompts: tuple[Mapping[str, Any], ...] = ()


def tool_name(server: str, name: str) -> str:
    """The name of a server's tool here. What does not fit into a name of ours is replaced, and told apart by a part of
    a hash."""
    plain = _FOREIGN.sub("_", name)
    full = f"{server}{DIVIDER}{plain}"
    if plain == name and len(full) <= NAME_LIMIT:
        return full
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{full[: NAME_LIMIT - 9]}-{mark}"


def side_effect(tool: McpTool, *, trusted: bool) -> SideEffect:
    """What a call may do at worst. Hints are a stranger's word: unless they are trusted, they change nothing."""
    if not trusted:
        return SideEffect.EXTERNAL
    if tool.read_only:
        return SideEffect.READ
    return SideEffect.DANGEROUS if tool.destructive else SideEffect.EXTERNAL


def as_tool(server: McpServer, about: McpAbout, tool: McpTool) -> Tool:
    """A server's tool as one of ours."""
    name = tool_name(server.name, tool.name)
    return Tool(
        tool_id=name,
        name=name,
        category=CATEGORY,
        description=tool.description[:DESCRIPTION_LIMIT] if tool.description else None,
        version=about.version[:VERSION_LIMIT] or "1.0.0",
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        tags=(CATEGORY, server.name),
        execution=Execution(
            ToolKind.MCP,
            binding={"server": server.name, "tool": tool.name},
            side_effect=side_effect(tool, trusted=server.trust_annotations),
            timeout=server.timeout,
        ),
        source=ToolSource.MCP,
    )
