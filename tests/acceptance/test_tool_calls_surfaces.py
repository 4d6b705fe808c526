"""A tool on a fake node, a Python function, and a tool of a real MCP server by stdio and by HTTP, called through API,
command line and client library of a service in a process of its own: well, with wrong arguments, over its time, with a
crash, with a wrong result, and with approval."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from cli_command import CommandLine
from tool_surfaces import Surface, bearer, python_tools, surfaces

from doubling import NUMBER, TWICE
from mcp_servers import SERVERS, DemoServer, stdio_entry
from service import merged, spawned_service
from stub_node import Reply, stub_node

SURFACES = pytest.mark.parametrize("surface", ["api", "cli", "sdk"])
KINDS = pytest.mark.parametrize("kind", ["http", "python", "mcp-stdio", "mcp-http"])
# What a node answers so that the tool behaves as the Python function, and the tool of the MCP server, of this name.
ANSWERS: dict[str, Reply | None] = {
    "double": (200, {"twice": 14, "words": []}),
    "wrong": (200, {"twice": "two"}),
    "refuse": (418, "not today"),
    "sleep": None,
    "vanish": (500, "it broke"),
    "guarded": (200, {"twice": 14, "words": []}),
}


@dataclass(frozen=True)
class Running:
    """A service with tools of every kind."""

    url: str
    folder: Path
    demo: DemoServer  # of the tools by HTTP

    def taken(self, kind: str) -> list[int]:
        """The numbers that the Python functions, or an MCP server, have taken."""
        file = self.folder / ("called_functions.py.taken" if kind == "python" else f"{kind}.taken")
        words = file.read_text().split() if file.exists() else []
        return [int(word) for word in words if word.isdigit()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tools")
    config, environ = python_tools(folder)
    demo = DemoServer(MARK=str(folder / "mcp-http.taken"))
    servers = {"mcp-stdio": stdio_entry(MARK=str(folder / "mcp-stdio.taken")), "mcp-http": {"url": demo.url}}
    believed = {name: entry | {"trust_annotations": True} for name, entry in servers.items()}
    try:
        asyncio.run(demo.start())
        with spawned_service(
            merged(config, {"tools": {"mcp_servers": believed}}), folder, environ=environ, timeout=90
        ) as service:
            yield Running(service.url, folder, demo)
    finally:
        demo.kill()


class Called:
    """One tool of a kind that behaves in a certain way, on a certain surface."""

    def __init__(self, name: str, on: Surface, taken: Callable[[], list[int]]) -> None:
        self.name = name
        self.on = on
        self._taken = taken
        self._before = len(taken())

    def taken(self) -> list[int]:
        """The numbers that it was called with since."""
        return self._taken()[self._before :]


@pytest.fixture
async def every(
    running: Running, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> AsyncIterator[dict[str, Surface]]:
    async with surfaces(running.url, CommandLine(capsys), tmp_path) as found:
        yield found


@asynccontextmanager
async def called(running: Running, on: Surface, kind: str, way: str) -> AsyncIterator[Called]:
    async with httpx2.AsyncClient(base_url=running.url, headers=bearer("operator"), timeout=40) as client:
        if kind == "http":
            async with stub_node(lambda _: ANSWERS[way]) as node:
                name = f"http-{way}-{uuid4().hex[:8]}"
                await _register(client, node.port, name, "always" if way == "guarded" else "inherit")
                yield Called(name, on, lambda: [task["number"] for task in node.tasks])
            return
        if kind != "python":
            await _connect(client, kind)
        yield Called(f"python-{way}" if kind == "python" else f"{kind}__{way}", on, lambda: running.taken(kind))


async def _register(client: httpx2.AsyncClient, port: int, name: str, approval: str) -> None:
    node = {"node_type": "TOOL_EXECUTOR", "address": f"http://127.0.0.1:{port}", "status": "ACTIVE"}
    node_id = (await client.post("/nodes/", json=node)).json()["node_id"]
    tool: dict[str, Any] = {
        "name": name,
        "category": "TESTS",
        "input_schema": NUMBER,
        "output_schema": TWICE,
        "target_node_id": node_id,
        "execution": {"kind": "http", "binding": {"path": "/double"}, "approval": approval},
    }
    answer = await client.post("/api/v1/tools", json=tool)
    assert answer.status_code == 201, answer.text


async def _connect(client: httpx2.AsyncClient, server: str) -> None:
    """Waits until the service is connected to an MCP server."""
    async with asyncio.timeout(30):
        while (await client.post(f"{SERVERS}/{server}/refresh")).json()["server"]["state"] != "connected":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


@SURFACES
@KINDS
async def test_a_tool_is_called_and_checked(
    running: Running, every: dict[str, Surface], surface: str, kind: str
) -> None:
    async with called(running, every[surface], kind, "double") as tool:
        good = await tool.on.call(tool.name, {"number": 7})
        assert (good.state, good.result) == ("SUCCEEDED", {"twice": 14, "words": []})
        for arguments, path in (({}, ""), ({"number": "7"}, "/number"), ({"number": 1001}, "/number")):
            bad = await tool.on.call(tool.name, arguments)
            assert (bad.state, bad.code) == ("", "invalid_arguments")
            assert bad.problems[0]["path"] == path
            assert bad.problems[0]["message"]
            assert bad.problems[0]["schema_path"]
        assert tool.taken() == [7]


@SURFACES
@KINDS
@pytest.mark.parametrize(("way", "code"), [("wrong", "invalid_result"), ("refuse", "tool_failed")])
async def test_a_tool_fails(
    running: Running, every: dict[str, Surface], surface: str, kind: str, way: str, code: str
) -> None:
    async with called(running, every[surface], kind, way) as tool:
        bad = await tool.on.call(tool.name, {"number": 7})
        assert (bad.state, bad.code, bad.result) == ("FAILED", code, None)
        assert [problem["path"] for problem in bad.problems] == (["/twice"] if way == "wrong" else [])


@SURFACES
@KINDS
async def test_a_tool_crashes_and_works_again(
    running: Running, every: dict[str, Surface], surface: str, kind: str
) -> None:
    try:
        async with called(running, every[surface], kind, "vanish") as tool:
            bad = await tool.on.call(tool.name, {"number": 7})
            assert (bad.state, bad.code, bad.result) == ("FAILED", "tool_crashed", None)
    finally:
        if kind == "mcp-http":
            await running.demo.start()
    async with called(running, every[surface], kind, "double") as tool:
        good = await tool.on.call(tool.name, {"number": 7})
        assert (good.state, good.result) == ("SUCCEEDED", {"twice": 14, "words": []})


@SURFACES
@KINDS
async def test_a_tool_is_over_its_time(running: Running, every: dict[str, Surface], surface: str, kind: str) -> None:
    async with called(running, every[surface], kind, "sleep") as tool:
        late = await tool.on.call(tool.name, {"number": 7}, timeout=0.5)
        assert (late.state, late.code) == ("FAILED", "tool_timeout")


@SURFACES
@KINDS
async def test_a_person_agrees_or_refuses(running: Running, every: dict[str, Surface], surface: str, kind: str) -> None:
    async with called(running, every[surface], kind, "guarded") as tool:
        wanted = await tool.on.call(tool.name, {"number": 7})
        assert wanted.state == "PENDING_APPROVAL"
        assert wanted.call_id in await tool.on.waiting()
        assert tool.taken() == []
        await tool.on.decide(wanted.call_id, True, "planned")
        done = await tool.on.end(wanted.call_id)
        assert (done.state, done.result) == ("SUCCEEDED", {"twice": 14, "words": []})

        refused = await tool.on.call(tool.name, {"number": 8})
        await tool.on.decide(refused.call_id, False, "not on a Friday")
        assert (await tool.on.end(refused.call_id)).state == "REJECTED"
        assert wanted.call_id not in await tool.on.waiting()
        assert refused.call_id not in await tool.on.waiting()
        assert tool.taken() == [7]
