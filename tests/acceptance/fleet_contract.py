"""The fleet of `contracts/fleet.md` section 6: two fake servers `a` and `b` with the same two models, and a client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from admin_api import ADMIN, UNLIMITED

from orchestrator.testing.model_server import ModelServer
from service import RunningService, merged, running_service

LLAMA, NOMIC = "llama3:latest", "nomic-embed-text:latest"
# What is decided stays; only how long it takes changes. Nothing here is about the database: it is not written to disk.
QUICK: dict[str, Any] = {
    **UNLIMITED,
    "database": {"url": "memory://"},
    "retry": {"backoff_base": 0.01, "backoff_max": 0.05},
    "server": {"grace": 1},
}


@dataclass
class ContractFleet:
    """The contract's `B` is the client's address, its `O` is `ADMIN` below it."""

    running: RunningService
    servers: dict[str, ModelServer]
    client: httpx2.AsyncClient

    @property
    def a(self) -> ModelServer:
        return self.servers["a"]

    @property
    def b(self) -> ModelServer:
        return self.servers["b"]

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        """A path that begins with `O` is below the administration's prefix."""
        path = ADMIN + path[1:] if path.startswith("O/") else path
        return await self.client.request(method, path, **({} if body is None else {"json": body}), **more)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = await self.call(method, path, body, **more)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def get(self, path: str) -> Any:
        return await self.ok("GET", path)

    async def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return await self.ok("POST", path, body, **more)

    async def generate(self, path: str = "/api/generate", **body: Any) -> httpx2.Response:
        whole = {"model": "llama3", "prompt": "hi", "stream": False, **body}
        return await self.call("POST", path, {name: value for name, value in whole.items() if value is not None})

    def asked(self, path: str = "/api/generate") -> list[str]:
        """The servers that received requests for `path`, once for each of them."""
        return [name for name, server in self.servers.items() for received in server.requests if received.path == path]

    async def idle(self, timeout: float = 5.0) -> None:
        """Nobody works on anything any more."""
        nodes = self.running.service.fleet.nodes
        await self.running.until(lambda: not any(node.state.in_flight for node in nodes.values()), timeout)


@asynccontextmanager
async def contract_fleet(
    tmp_path: Path,
    names: str = "ab",
    *,
    environ: Mapping[str, str] | None = None,
    max_concurrency: int = 4,
    **config: Any,
) -> AsyncIterator[ContractFleet]:
    servers = {name: ModelServer([LLAMA, NOMIC]) for name in names}
    async with contextlib.AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server)
        nodes = [
            {"id": name, "url": server.url, "max_concurrency": max_concurrency} for name, server in servers.items()
        ]
        whole = merged(QUICK, {"nodes": nodes}, config)
        running = await stack.enter_async_context(running_service(whole, tmp_path, environ=environ))
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=running.url, timeout=20, trust_env=False))
        await running.healthy(len(servers))
        yield ContractFleet(running, servers, client)


def has(found: Mapping[str, Any], names: str, where: str = "") -> None:
    """All of `names` (words) are in `found`; it may have more."""
    missing = set(names.split()) - set(found)
    assert not missing, f"{where} lacks {sorted(missing)}: has {sorted(found)}"


def at(found: Any, path: str) -> Any:
    """What is at `a.0.b`; `*` is whatever comes first."""
    for step in path.split(".") if path else ():
        if isinstance(found, list):
            found = found[int(step)]
        else:
            found = found[next(iter(found)) if step == "*" else step]
    return found
