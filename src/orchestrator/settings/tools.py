"""The registry of tools."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from orchestrator.domain.tool import SideEffect
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.settings.mcp import McpServerEntry, check_names
from orchestrator.settings.section import Duration, Section, Size, setting
from orchestrator.settings.tool_data import ExecutionMode, ToolDatabase
from orchestrator.settings.tool_kinds import TOOL_NAME, ContainerImage, FunctionTool, ToolSecret
from orchestrator.settings.url import NormalUrl


class ToolRegistry(Section):
    """The registry of tools."""

    reenable: bool = setting(
        False,
        "Enable tools again that `POST /maintenance/update-tool-status` disabled, when their node is ACTIVE again; "
        "false: they stay disabled until a client enables them.",
        live=True,
    )
    hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) to which tools may connect by HTTP; `*.example.com` is every name below "
        "it, `0.0.0.0/0` and `::/0` are all public addresses. Addresses that are not public need a network that names "
        "them. Empty: none.",
        live=True,
    )
    secrets: dict[str, ToolSecret] = setting(
        description="Secrets by name, for headers of tools that name them (`secret:NAME`): each has a `value` "
        "(`env:NAME`, `${file:/path}`, or the text) and the `hosts` that may see it.",
        factory=dict,
        secret=True,
        live=True,
    )
    functions: dict[str, FunctionTool] = setting(
        description="Python functions that are tools, by name; tools of the kind `python` may name them, too.",
        factory=dict,
    )
    images: tuple[ContainerImage, ...] = setting((), "Images that tools of the kind `container` may run.")
    docker_host: str = setting(
        "unix:///var/run/docker.sock", "Where Docker's API is: unix:///path, or tcp://HOST:PORT."
    )
    max_answer: Size = setting(
        32 * 1024**2, "Bytes of an answer that a tool may bring by HTTP.", ge=1024, le=1024**3, live=True
    )

    mcp_servers: dict[str, McpServerEntry] = setting(
        description="MCP servers whose tools, resources and prompts are used here, by name (a-z, 0-9, '-').",
        factory=dict,
        secret=True,
    )
    mcp_hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) where MCP servers that clients add may be; as in `tools.hosts`. Empty: "
        "clients add none. Servers of `tools.mcp_servers` may be anywhere.",
        live=True,
    )
    mcp_refresh: Duration = setting(
        60.0, "Time between two looks at the lists of an MCP server, which are its health check, too.", ge=1, le=86_400
    )

    timeout: Duration = setting(
        60.0, "Time for one attempt of a call, where neither the tool nor the caller says so.", gt=0, live=True
    )
    max_timeout: Duration = setting(3600.0, "Longest time for one attempt of a call.", gt=0, le=86_400, live=True)
    concurrency: int = setting(64, "Calls that run at a time in one process; more wait.", ge=1, le=10_000, live=True)
    max_wait: Duration = setting(
        10.0, "A call that has waited so long for others to end is refused with 503.", ge=0, le=600, live=True
    )
    approvals: dict[SideEffect, Literal["never", "always"]] = setting(
        description="Whether a person has to agree before each call, by side effect (read, write, external, "
        "dangerous); tools may say otherwise. What is not named: dangerous always, the others never.",
        factory=dict,
        live=True,
    )
    approval_expires: Duration = setting(
        86_400.0, "A call that nobody has decided about after so long expires.", gt=0, live=True
    )
    keep_calls: Duration = setting(
        604_800.0, "How long calls that are over are kept. What they have made stays.", gt=0, live=True
    )

    embedding_model: str = setting(
        "auto",
        "Model that makes vectors of tools and artifacts, so that they are found by meaning. auto: the first one that "
        "is known to embed; off: none.",
        live=True,
    )
    embedding_rate: float = setting(20.0, "Vectors made in a second at most, in the background.", gt=0, live=True)
    embedding_most: int = setting(
        20_000, "Vectors of tools, and of artifacts, at most; the newest get one.", ge=1, le=1_000_000, live=True
    )

    root: Path | None = setting(
        None, "Folder for the files of built-in tools; whoever may call tools sees all of it. None: files in data_dir."
    )
    max_file: Size = setting(
        64 * 1024**2, "Bytes of the largest file that built-in tools read or write.", ge=1024, le=1024**3
    )

    databases: dict[str, ToolDatabase] = setting(
        description="Databases that the tool `sql` may read, by name.", factory=dict, secret=True
    )
    search_url: NormalUrl | None = setting(
        None,
        "URL of a SearXNG server for `web-search`, such as http://127.0.0.1:8888; its settings must allow the format "
        "json. None: DuckDuckGo's page is asked, where `tools.hosts` allows html.duckduckgo.com.",
    )
    execution: ExecutionMode = setting(
        "off",
        "Where `terminal` and `python-executor` run what callers write: off; process: as this service's own user, "
        "with limits, but no sandbox; container: in a container without network for each call.",
    )
    execution_image: str = setting("python:3.13-slim", "Image for `execution: container`; it is not fetched.")
    execution_memory: Size = setting(512 * 1024**2, "Bytes of memory of a command.", ge=64 * 1024**2, le=1024**4)

    @field_validator("hosts", "mcp_hosts")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        WorkerHosts.of(entries)
        return entries

    @field_validator("mcp_servers")
    @classmethod
    def _servers(cls, servers: dict[str, McpServerEntry]) -> dict[str, McpServerEntry]:
        return check_names(servers)

    @field_validator("functions", "secrets", "databases")
    @classmethod
    def _named(cls, named: dict[str, Section]) -> dict[str, Section]:
        for name in named:
            if not TOOL_NAME.match(name):
                raise ValueError(f"{name!r}: 1 to 100 letters, digits, '.', '_' or '-', first a letter or digit")
        return named

    @field_validator("docker_host")
    @classmethod
    def _reachable(cls, host: str) -> str:
        if not host.startswith(("unix:///", "tcp://")):
            raise ValueError("unix:///path or tcp://HOST:PORT")
        return host
