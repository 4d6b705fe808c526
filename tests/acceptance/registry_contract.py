"""A client of the registry's contract, on a service with an empty database: in this process, or in one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from service import RunningService, SpawnedService, running_service, spawned_service

NOBODY = "00000000-0000-0000-0000-000000000000"
EXECUTOR = {"node_type": "TOOL_EXECUTOR", "address": "http://worker-1:8000", "status": "ACTIVE"}
ANALYZER = {
    "name": "file_analyzer",
    "description": "Analyzes files",
    "category": "ANALYSIS",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
    "output_schema": {"type": "object", "properties": {"metadata": {"type": "object"}}},
}


class Registry:
    """What a client does."""

    def __init__(self, client: httpx2.AsyncClient, running: RunningService | SpawnedService) -> None:
        self.client = client
        self.running = running

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def get(self, path: str, *, expect: int = 200) -> Any:
        return await self.call("GET", path, expect=expect)

    async def post(self, path: str, body: Any = None, *, expect: int = 200) -> Any:
        return await self.call("POST", path, body, expect=expect)

    async def put(self, path: str, body: Any, *, expect: int = 200) -> Any:
        return await self.call("PUT", path, body, expect=expect)

    async def node(self, **fields: Any) -> str:
        return str((await self.post("/nodes/", EXECUTOR | fields))["node_id"])

    async def tool(self, name: str, **fields: Any) -> str:
        return str((await self.post("/tools/", {"name": name, "category": "ANALYSIS", **fields}))["tool_id"])

    async def artifact(self, size: int, tool: str | None = None) -> str:
        body = {
            "file_name": f"{size}.bin",
            "mime_type": "application/octet-stream",
            "storage_pointer": f"s3://bucket/{size}",
            "size_bytes": size,
            "created_by_tool_id": tool,
        }
        return str((await self.post("/artifacts/", body))["artifact_id"])


@asynccontextmanager
async def registry(database_url: str, tmp_path: Path, **config: Any) -> AsyncIterator[Registry]:
    async with (
        running_service({"database": {"url": database_url}, **config}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=40) as client,
    ):
        yield Registry(client, running)


@contextmanager
def registry_process(database_url: str, folder: Path) -> Iterator[SpawnedService]:
    """As `make up` starts it, demo nodes included, on a database without any table."""
    with spawned_service({"database": {"url": database_url}, "demo": {"enabled": True}}, folder, healthy=1) as running:
        yield running


@asynccontextmanager
async def emptied(running: SpawnedService) -> AsyncIterator[Registry]:
    """A client of a process that other tests have used, without what they left."""
    async with httpx2.AsyncClient(base_url=running.url, timeout=40) as client:
        served = Registry(client, running)
        for area, name in (("artifacts", "artifact_id"), ("tools", "tool_id"), ("nodes", "node_id")):
            for row in await served.get(f"/{area}/?limit=10000"):
                await served.call("DELETE", f"/{area}/{row[name]}")
        assert set((await served.get("/stats/summary")).values()) == {0}
        yield served
