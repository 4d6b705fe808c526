"""One connection to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage, MessageHandlerFnT
from mcp.shared.dispatcher import ProgressFnT
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.adapters.mcp import answer
from orchestrator.adapters.mcp.failure import ends, told, unknown_method
from orchestrator.domain.errors import ToolFailed
from orchestrator.domain.mcp import McpAnswer, McpOffer
from orchestrator.ports.mcp import Progress

MOST_ENTRIES = 10_000
MOST_PAGES = 1_000
MOST_BYTES = 64 << 20  # of one list
SPARE = 5.0  # seconds that the SDK waits longer for a call than we do
CHANGES = (
    types.ToolListChangedNotification,
    types.ResourceListChangedNotification,
    types.PromptListChangedNotification,
)
Page = TypeVar("Page", types.ListToolsResult, types.ListResourcesResult, types.ListPromptsResult,
               types.ListResourceTemplatesResult)  # fmt: skip
T = TypeVar("T")


def on_change(changed: Callable[[], None]) -> MessageHandlerFnT:
    """Hears what servers of before 2026-07-28 say by themselves."""

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, CHANGES):
            changed()

    return hear


class SdkConnection:
    """`McpConnection`."""

    def __init__(self, client: Client, closed: asyncio.Event) -> None:
        """`client` is connected."""
        session = client.session
        self.closed = closed
        self.about = answer.about(
            session.server_info, session.server_capabilities, session.protocol_version, session.instructions
        )
        self._client = client
        self._asking: set[asyncio.Task[Any]] = set()

    async def follow(self, changed: Callable[[], None]) -> None:
        """Listens to changes as servers since 2026-07-28 tell them, until the connection or the stream ends."""
        capabilities = self._client.session.server_capabilities
        if self.about.protocol not in MODERN_PROTOCOL_VERSIONS or capabilities is None:
            return
        tools, resources, prompts = (
            one is not None and bool(one.list_changed)
            for one in (capabilities.tools, capabilities.resources, capabilities.prompts)
        )
        if not (tools or resources or prompts):
            return
        try:
            async with self._client.listen(
                tools_list_changed=tools, resources_list_changed=resources, prompts_list_changed=prompts
            ) as events:
                async for _ in events:
                    changed()
        except (MCPError, RuntimeError, TimeoutError):
            return  # the periodic look at the lists goes on

    async def offer(self, timeout: float) -> McpOffer:
        return await self._asked(self._offer(), timeout)

    async def call(
        self, tool: str, arguments: Mapping[str, Any], timeout: float, progress: Progress | None = None
    ) -> McpAnswer:
        # Not `Client.call_tool`: that would check the result by the server's own schema in the event loop, where a
        # pattern of a hostile server could take for ever. Who called checks it.
        params = types.CallToolRequestParams(name=tool, arguments=dict(arguments))
        asked = self._client.session.send_request(
            types.CallToolRequest(params=params),
            types.CallToolResult,
            request_read_timeout_seconds=timeout + SPARE,
            progress_callback=_progress(progress),
        )
        return answer.call_answer(await self._asked(asked, timeout))

    async def read(self, uri: str, timeout: float) -> tuple[Mapping[str, Any], ...]:
        found = await self._asked(self._client.read_resource(uri), timeout)
        return tuple(answer.plain(one) for one in found.contents)

    async def prompt(self, name: str, arguments: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
        found = await self._asked(self._client.get_prompt(name, dict(arguments)), timeout)
        shown = answer.plain(found)
        return {"description": shown.get("description"), "messages": shown.get("messages", [])}

    async def _asked(self, asked: Coroutine[Any, Any, T], timeout: float) -> T:
        """In a task of its own, cancelled once: the SDK then tells the server, and a second cancellation, of a limit
        around this one that is over at the same time, would stop it from that."""
        asking = asyncio.create_task(asked)
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(asking)
        except Exception as error:
            if ends(error):
                self.closed.set()
            raise told(error) from error
        finally:
            asking.cancel()

    async def _offer(self) -> McpOffer:
        client, offers = self._client, self.about.offers
        tools = await self._all(client.list_tools, lambda page: page.tools) if "tools" in offers else []
        prompts = await self._all(client.list_prompts, lambda page: page.prompts) if "prompts" in offers else []
        resources: list[types.Resource] = []
        templates: list[types.ResourceTemplate] = []
        if "resources" in offers:
            resources = await self._all(client.list_resources, lambda page: page.resources)
            templates = await self._all(client.list_resource_templates, lambda page: page.resource_templates)
        return McpOffer(
            tuple(answer.tool(one) for one in tools),
            tuple(answer.plain(one) for one in resources),
            tuple(answer.plain(one) for one in templates),
            tuple(answer.plain(one) for one in prompts),
        )

    async def _all(self, listing: Callable[..., Awaitable[Page]], entries: Callable[[Page], list[T]]) -> list[T]:
        found: list[T] = []
        cursor: str | None = None
        size = 0
        for _ in range(MOST_PAGES):
            try:
                page = await listing(cursor=cursor)
            except MCPError as error:
                if unknown_method(error):
                    break
                raise
            size += len(page.model_dump_json())
            if size > MOST_BYTES:
                raise ToolFailed(f"A list of the MCP server is over {MOST_BYTES} bytes.")
            found += entries(page)
            if page.next_cursor is None or page.next_cursor == cursor or len(found) >= MOST_ENTRIES:
                break
            cursor = page.next_cursor
        return found[:MOST_ENTRIES]


def _progress(hear: Progress | None) -> ProgressFnT | None:
    if hear is None:
        return None

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        await hear(progress, total, message)

    return tell
