"""The server on standard input and output: everything is asked of the running service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription, SubscriptionLost
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.session import ServerSession
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ToolsListChanged
from mcp_types.version import LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS

from orchestrator import __version__
from orchestrator.entrypoints.mcp.server import INSTRUCTIONS

SILENCE = 24 * 3600.0  # seconds that a call may take
AGAIN = 5.0  # seconds until a service that went away is listened to again
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
        forwarding = Forwarding(url, client)
        server = forwarding.server()
        tells = NotificationOptions(tools_changed=True, resources_changed=True)
        try:
            await server.run(read, write, server.create_initialization_options(tells))
        finally:
            forwarding.close()


class Forwarding:
    """Each request goes to the service by a connection of its own, so that a restart of the service breaks none but
    those under way."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._telling: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

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
            on_subscriptions_listen=self.listen,
        )

    async def list_tools(self, context: Context, params: Pages) -> types.ListToolsResult:
        self._tell(context.session)
        return await self._ask(lambda session: session.list_tools(params=_plain(params)))

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=params.name, arguments=params.arguments)
        )
        return await self._ask(lambda session: session.send_request(request, types.CallToolResult))

    async def list_resources(self, context: Context, params: Pages) -> types.ListResourcesResult:
        self._tell(context.session)
        return await self._ask(lambda session: session.list_resources(params=_plain(params)))

    async def list_templates(self, context: Context, params: Pages) -> types.ListResourceTemplatesResult:
        return await self._ask(lambda session: session.list_resource_templates(params=_plain(params)))

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await self._ask(lambda session: session.read_resource(params.uri))

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Hands on what the service tells, until the client leaves or the service ends. Raises MCPError."""
        wanted = params.notifications
        bus = InMemorySubscriptionBus()
        answering = ListenHandler(bus)

        async def hand_on(changes: Subscription) -> None:
            try:
                async for change in changes:
                    await bus.publish(change)
            except SubscriptionLost:
                pass  # the client is told that it has ended
            answering.close()

        async def answer(client: Client) -> types.SubscriptionsListenResult:
            async with client.listen(
                tools_list_changed=bool(wanted.tools_list_changed),
                resources_list_changed=bool(wanted.resources_list_changed),
            ) as changes:
                handing = asyncio.create_task(hand_on(changes))
                try:
                    return await answering(context, params)
                finally:
                    handing.cancel()

        return await self._connect(answer)

    def _tell(self, session: ServerSession) -> None:
        """From the first list on, a client of before 2026-07-28 is told of changes: it cannot ask for that."""
        if self._telling is None and session.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            self._telling = asyncio.create_task(self._keep_telling(session))

    async def _keep_telling(self, session: ServerSession) -> None:
        missed = False

        async def hear(client: Client) -> None:
            async with client.listen(tools_list_changed=True, resources_list_changed=True) as changes:
                if missed:
                    await session.send_tool_list_changed()
                    await session.send_resource_list_changed()
                async for change in changes:
                    if isinstance(change, ToolsListChanged):
                        await session.send_tool_list_changed()
                    elif isinstance(change, ResourcesListChanged):
                        await session.send_resource_list_changed()

        while True:
            with suppress(MCPError):  # the service is away
                await self._connect(hear)
            missed = True
            await asyncio.sleep(AGAIN)

    async def _ask(self, what: Callable[[ClientSession], Awaitable[T]]) -> T:
        """Raises MCPError."""
        return await self._connect(lambda client: what(client.session))

    async def _connect(self, what: Callable[[Client], Awaitable[T]]) -> T:
        """Raises MCPError."""
        try:
            async with self._connected() as client:
                return await what(client)
        except Exception as error:
            found = _cause(error)
            if isinstance(found, MCPError):
                raise found from error
            words = f"The service at {self._url} cannot be asked: {type(found).__name__}: {found}"
            raise MCPError(types.INTERNAL_ERROR, words[:1_000]) from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        streams = streamable_http_client(self._url, http_client=self._client)
        async with Client(streams, mode=LATEST_MODERN_VERSION, cache=None) as client:
            yield client


def _plain(params: Pages) -> Pages:
    """Without what is meant for this connection only."""
    return types.PaginatedRequestParams(cursor=params.cursor) if params is not None else None


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
