"""The demo MCP server beside a service, for tests: by stdio from the configuration, and by HTTP as a process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
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
    """The demo server on a port of this machine; `env` is for its process."""

    def __init__(self, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Begins anew where it runs."""
        self.kill()
        words = [sys.executable, str(DEMO), "http", str(self.port)]
        self._process = await asyncio.to_thread(subprocess.Popen, words, env={**environment(), **self._env})
        async with asyncio.timeout(30):
            while not self._answers():
                assert self._process.poll() is None
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """It has ended when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True


@asynccontextmanager
async def demo_server(**env: str) -> AsyncIterator[DemoServer]:
    server = DemoServer(**env)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


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
