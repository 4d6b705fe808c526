"""Makes connections by the SDK."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from mcp import Client, Implementation

from orchestrator import __version__
from orchestrator.adapters.mcp.connection import SdkConnection, on_change
from orchestrator.adapters.mcp.failure import told
from orchestrator.adapters.mcp.http import reached
from orchestrator.adapters.mcp.stdio import started
from orchestrator.adapters.mcp.watched import watched
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.mcp import McpServer
from orchestrator.ports.mcp import McpConnection, Pinned

# What the SDK logs about a server's mistakes is told by our errors, and may be as much as the server likes.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


class SdkConnector:
    """`McpConnector`."""

    @asynccontextmanager
    async def connect(
        self, server: McpServer, pinned: Pinned | None, changed: Callable[[], None], timeout: float
    ) -> AsyncGenerator[McpConnection]:
        closed = asyncio.Event()
        streams = started(server) if server.command else reached(server, pinned, timeout)
        client = Client(
            watched(streams, closed),
            read_timeout_seconds=timeout,
            message_handler=on_change(changed),
            client_info=Implementation(name="orchestrator", version=__version__),
            cache=None,
        )
        try:
            async with client:
                connection = SdkConnection(client, closed)
                following = asyncio.create_task(connection.follow(changed))
                try:
                    yield connection
                finally:
                    closed.set()
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
        except OrchestratorError:
            raise
        except Exception as error:
            raise told(error) from error
        finally:
            closed.set()
