"""The server on standard input and output: everything is asked of the running service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types.version import LATEST_MODERN_VERSION

from orchestrator import __version__
from orchestrator.entrypoints.mcp.server import INSTRUCTIONS

SILENCE = 24 * 3600.0  # seconds that a call may take
Context = ServerRequestContext[Any, Any]
Pages = types.PaginatedRequestParams | None
T = TypeVar("T")

# Standard error is the client's log; what is wrong with a message is told to who sent it.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


async def serve(url: str, headers: Mapping[str, str], connect: float, trust_env: bool) -> None:
    """Answers on standard output until standard input ends. `url` is that of the service's `/mcp`, `connect` in
    seconds."""
    timeout = httpx2.Timeout(connect, read=SILENCE)
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=timeout, trust_env=trust_env) as client,
        stdio_server() as (read, write),
    ):
        server = Forwarding(url, client).server()
        await server.run(read, write, server.create_initialization_options())


class Forwarding:
    """Each request goes to the service by a connection of its own, so that a restart of the service breaks none but
    those under way."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client

    def server(self) -> Server[Any]:
        return Server(
            "orchestrator",
            version=__version__,
            title="Orchestrator",
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
        )

    async def list_tools(self, context: Context, params: Pages) -> types.ListToolsResult:
        return await self._ask(lambda session: session.list_tools(params=_plain(params)))

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=params.name, arguments=params.arguments)
        )
        return await self._ask(lambda session: session.send_request(request, types.CallToolResult))

    async def list_resources(self, context: Context, params: Pages) -> types.ListResourcesResult:
        return await self._ask(lambda session: session.list_resources(params=_plain(params)))

    async def list_templates(self, context: Context, params: Pages) -> types.ListResourceTemplatesResult:
        return await self._ask(lambda session: session.list_resource_templates(params=_plain(params)))

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await self._ask(lambda session: session.read_resource(params.uri))

    async def _ask(self, what: Callable[[ClientSession], Awaitable[T]]) -> T:
        """Raises MCPError."""
        try:
            async with self._connected() as session:
                return await what(session)
        except Exception as error:
            found = _cause(error)
            if isinstance(found, MCPError):
                raise found from error
            words = f"The service at {self._url} cannot be asked: {type(found).__name__}: {found}"
            raise MCPError(types.INTERNAL_ERROR, words[:1_000]) from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientSession]:
        streams = streamable_http_client(self._url, http_client=self._client)
        async with Client(streams, mode=LATEST_MODERN_VERSION, cache=None) as client:
            yield client.session


def _plain(params: Pages) -> Pages:
    """Without what is meant for this connection only."""
    return types.PaginatedRequestParams(cursor=params.cursor) if params is not None else None


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
