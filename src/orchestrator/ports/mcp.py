"""Connections to servers of the Model Context Protocol, and the list of those that clients have added."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.domain.mcp import McpAbout, McpAnswer, McpOffer, McpServer

Progress = Callable[[float, float | None, str | None], Awaitable[None]]  # so far, of how much, in words


@dataclass(frozen=True, slots=True)
class Pinned:
    """Where every connection of an HTTP server goes: the address that was judged."""

    address: str


class McpConnection(Protocol):
    """One connection. Every method raises ToolCrashed when the connection is or becomes broken, ToolTimeout when there
    is no answer within `timeout` seconds, ToolFailed when the server says no."""

    about: McpAbout
    closed: asyncio.Event  # set once the connection is broken

    async def offer(self, timeout: float) -> McpOffer:
        """All lists, page after page; at most 10,000 entries of each."""

    async def call(
        self, tool: str, arguments: Mapping[str, Any], timeout: float, progress: Progress | None = None
    ) -> McpAnswer:
        """Cancelling it tells the server (notifications/cancelled)."""

    async def read(self, uri: str, timeout: float) -> tuple[Mapping[str, Any], ...]:
        """The contents of a resource, as the protocol writes them: `text`, or `blob` in Base64."""

    async def prompt(self, name: str, arguments: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
        """A prompt's `description` and `messages`, as the protocol writes them."""


class McpConnector(Protocol):
    """Makes connections."""

    def connect(
        self, server: McpServer, pinned: Pinned | None, changed: Callable[[], None], timeout: float
    ) -> AbstractAsyncContextManager[McpConnection]:
        """Starts the server's command, or connects to its URL; what was started is ended with the block. `pinned` is
        where a URL's connections go. `changed` is called when the server says that a list of its is another. Raises
        ToolCrashed, ToolTimeout. Enter and leave it in one task."""


class McpServerStore(Protocol):
    """Servers that were added through the API, by name."""

    async def list(self) -> tuple[McpServer, ...]: ...

    async def put(self, server: McpServer) -> None:
        """Adds or replaces one."""

    async def delete(self, name: str) -> bool:
        """Whether it was there."""
