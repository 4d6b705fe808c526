"""The server itself: which method does what, and for whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ToolsListChanged

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import OrchestratorError
from orchestrator.entrypoints.mcp.served_artifacts import ServedArtifacts
from orchestrator.entrypoints.mcp.served_tools import ServedTools, failed
from orchestrator.services.artifacts import Artifacts
from orchestrator.services.mcp.list_changes import ListChanges, Listed
from orchestrator.services.tool_calls.calls import Calls

INSTRUCTIONS = (
    "Tools of this Orchestrator. Files that they make are resources (artifact://ID). A call that needs a person's "
    "approval is answered with its id: do not repeat it; it begins by itself once it was approved."
)
Context = ServerRequestContext[Any, Any]
Listening = tuple[ListChanges, asyncio.Event]  # what is told, and the end of it all
PRINCIPAL = "orchestrator.principal"  # in the request's scope

# Each message of a client that is wrong would be an entry; what is wrong is told to the client.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


def principal_of(context: Context) -> Principal:
    """Who asks, as the route has found out."""
    request: Any = context.request
    principal: Principal = request.scope[PRINCIPAL]
    return principal


class Service:
    """The methods, over the use cases."""

    def __init__(
        self,
        calls: Calls,
        artifacts: Artifacts,
        listening: Listening,
        who: Callable[[Context], Principal] = principal_of,
    ) -> None:
        self._tools = ServedTools(calls)
        self._artifacts = ServedArtifacts(artifacts)
        self._changes, self._stopping = listening
        self._who = who

    def server(self) -> Server[Any]:
        return Server(
            "orchestrator",
            version=__version__,
            title="Orchestrator",
            instructions=INSTRUCTIONS,
            # No tool of ours wants arguments in headers; without this every call would list all tools first.
            get_tool_input_schema=lambda name: None,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscriptions_listen=self.listen,
        )

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return await self._tools.page(params.cursor if params is not None else None)

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        who = self._who(context)
        if not allowed(who, Permission.TOOLS_CALL):
            return failed(_missing(Permission.TOOLS_CALL), {"code": "forbidden"})
        return await self._tools.call(params.name, params.arguments or {}, who)

    async def list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return await self._artifacts.page(params.cursor if params is not None else None, self._reader(context))

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return self._artifacts.templates()

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await self._artifacts.read(params.uri, self._reader(context))

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tells of changes until the client leaves or the service ends. Artifacts never change, so nobody is told of
        a single one."""
        if not allowed(self._who(context), Permission.ARTIFACTS_READ):
            wanted = params.notifications.model_copy(update={"resources_list_changed": None})
            params = params.model_copy(update={"notifications": wanted})
        bus = InMemorySubscriptionBus()
        answering = ListenHandler(bus)

        async def hear(listed: Listed) -> None:
            await bus.publish(ToolsListChanged() if listed is Listed.TOOLS else ResourcesListChanged())

        try:
            async with self._changes.followed(hear):
                ending = asyncio.create_task(self._end(answering))
                try:
                    return await answering(context, params)
                finally:
                    ending.cancel()
        except OrchestratorError as error:
            raise MCPError(types.INTERNAL_ERROR, error.message, {"code": error.code}) from None

    async def _end(self, answering: ListenHandler) -> None:
        await self._stopping.wait()
        answering.close()

    def _reader(self, context: Context) -> Principal:
        who = self._who(context)
        if not allowed(who, Permission.ARTIFACTS_READ):
            raise MCPError(types.INVALID_REQUEST, _missing(Permission.ARTIFACTS_READ), {"code": "forbidden"})
        return who


def _missing(permission: Permission) -> str:
    return f"This key does not have the permission '{permission}'."
