"""The demo MCP server beside a service, for tests: by stdio from the configuration, and by HTTP as a process."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from service import RunningService, environment, free_port

DEMO = Path(__file__).with_name("mcp_demo_server.py")
SERVERS = "/api/v1/mcp/servers"


def stdio_entry(**env: str) -> dict[str, Any]:
    """An entry of `tools.mcp_servers`."""
    return {"command": [sys.executable, str(DEMO), "stdio"], "env": env}


class DemoServer:
    """The demo server on a port of this machine."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(DEMO), "http", str(self.port), env=environment()
        )
        async with asyncio.timeout(30):
            while not self._answers():
                assert self._process.returncode is None
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True


@asynccontextmanager
async def demo_server() -> AsyncIterator[DemoServer]:
    server = DemoServer()
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


async def connected(running: RunningService, *names: str) -> None:
    """Waits until these servers are connected."""

    def all_of_them() -> bool:
        peers = {peer.server.name: peer for peer in running.service.mcp.all()}
        return all(name in peers and peers[name].state == "connected" for name in names)

    await running.until(all_of_them, timeout=30)


async def call(client: httpx2.AsyncClient, tool: str, arguments: dict[str, Any], **more: Any) -> Any:
    """The record of a call by the API."""
    answer = await client.post(f"/api/v1/tools/{tool}/call", json={"arguments": arguments, **more})
    return answer.json()
