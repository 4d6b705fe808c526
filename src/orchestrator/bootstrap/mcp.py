"""Puts together what uses the tools of MCP servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib import import_module

from orchestrator.bootstrap.nodes import keep
from orchestrator.bootstrap.tool_parts import Surroundings, ToolPart
from orchestrator.bootstrap.values import resolve_secret
from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.mcp import McpServer, ServerOrigin
from orchestrator.domain.tool import ToolKind, ToolSource
from orchestrator.ports.mcp import McpConnector
from orchestrator.services.mcp import McpRules, McpRunner, McpServers
from orchestrator.settings import Settings

MISSING = "MCP needs the package mcp: install orchestrator[mcp]"


@dataclass(frozen=True, slots=True)
class McpPart:
    """`part` is what the calls of tools need of it, `servers` what the entry points do."""

    part: ToolPart
    servers: McpServers


def build_mcp(around: Surroundings) -> McpPart:
    settings = around.settings
    servers = McpServers(
        around.storage.mcp_servers,
        load_connector,
        with_secrets,
        HttpHosts.of(settings.tools.mcp_hosts),
        McpRules(refresh=settings.tools.mcp_refresh),
        around.clock,
        random.SystemRandom().random,
    )
    around.tools.directory.guests = servers.nodes
    others = settings.database_url.startswith("postgres")

    async def start(stack: AsyncExitStack) -> None:
        stack.push_async_callback(servers.stop)
        await servers.start(configured(settings))
        if others:
            keep(stack, servers.run(asyncio.sleep))

    def adopt(changed: Settings) -> None:
        servers.hosts = HttpHosts.of(changed.tools.mcp_hosts)

    runners = {ToolKind.MCP: McpRunner(servers)}
    return McpPart(ToolPart(runners, {ToolSource.MCP: servers}, start, adopt), servers)


def configured(settings: Settings) -> Iterable[McpServer]:
    """The servers of the configuration."""
    for name, entry in settings.tools.mcp_servers.items():
        yield McpServer(
            name,
            command=entry.command,
            env={key: value.get_secret_value() for key, value in entry.env.items()},
            cwd=entry.cwd,
            url=entry.url or "",
            headers={key: value.get_secret_value() for key, value in entry.headers.items()},
            timeout=entry.timeout,
            trust_annotations=entry.trust_annotations,
        )


def with_secrets(server: McpServer) -> McpServer:
    """The server with the variables that its configuration names. Nothing that a client wrote is such a name. Raises
    ConfigurationError."""
    if server.origin is not ServerOrigin.CONFIG:
        return server
    return replace(server, env=_read(server, server.env), headers=_read(server, server.headers))


def _read(server: McpServer, values: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, reference in values.items():
        value = resolve_secret(reference)
        if value is None:
            raise ConfigurationError(f"tools.mcp_servers.{server.name}: {reference} is not set")
        found[name] = value
    return found


async def load_connector() -> McpConnector:
    """Loads the SDK beside the event loop: that takes a second. Raises ConfigurationError where it is not installed."""
    try:
        module = await asyncio.to_thread(import_module, "orchestrator.adapters.mcp")
    except ImportError as error:
        raise ConfigurationError(MISSING, details={"extra": "mcp"}) from error
    connector: McpConnector = module.SdkConnector()
    return connector
