"""A tool on a fake node and a Python function, called through API, command line and client library of a service in a
process of its own: well, with wrong arguments, over its time, with a crash, with a wrong result, and with approval."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from cli_command import CommandLine
from tool_surfaces import NUMBER, TWICE, Surface, bearer, python_tools, surfaces

from service import SpawnedService, spawned_service
from stub_node import Reply, StubNode, stub_node

SURFACES = pytest.mark.parametrize("surface", ["api", "cli", "sdk"])
KINDS = pytest.mark.parametrize("kind", ["http", "python"])
# What a node answers so that the tool behaves as the Python function of this name.
ANSWERS: dict[str, Reply | None] = {
    "double": (200, {"twice": 14, "words": []}),
    "wrong": (200, {"twice": "two"}),
    "refuse": (418, "not today"),
    "sleep": None,
    "vanish": (500, "it broke"),
    "guarded": (200, {"twice": 14, "words": []}),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedService]:
    folder = tmp_path_factory.mktemp("tools")
    config, environ = python_tools(folder)
    with spawned_service(config, folder, environ=environ, timeout=90) as service:
        yield service


class Called:
    """One tool of a kind that behaves in a certain way, on a certain surface."""

    def __init__(self, name: str, on: Surface, node: StubNode) -> None:
        self.name = name
        self.on = on
        self.node = node


@pytest.fixture
async def every(
    running: SpawnedService, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> AsyncIterator[dict[str, Surface]]:
    async with surfaces(running.url, CommandLine(capsys), tmp_path) as found:
        yield found


@asynccontextmanager
async def called(running: SpawnedService, on: Surface, kind: str, way: str) -> AsyncIterator[Called]:
    async with stub_node(lambda _: ANSWERS[way]) as node:
        name = f"python-{way}"
        if kind == "http":
            name = f"http-{way}-{uuid4().hex[:8]}"
            await _register(running.url, node.port, name, "always" if way == "guarded" else "inherit")
        yield Called(name, on, node)


async def _register(url: str, port: int, name: str, approval: str) -> None:
    async with httpx2.AsyncClient(base_url=url, headers=bearer("operator"), timeout=20) as client:
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


@SURFACES
@KINDS
async def test_a_tool_is_called_and_checked(
    running: SpawnedService, every: dict[str, Surface], surface: str, kind: str
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
        assert tool.node.tasks == ([{"number": 7}] if kind == "http" else [])


@SURFACES
@KINDS
@pytest.mark.parametrize(
    ("way", "code"), [("wrong", "invalid_result"), ("refuse", "tool_failed"), ("vanish", "tool_crashed")]
)
async def test_a_tool_fails(
    running: SpawnedService, every: dict[str, Surface], surface: str, kind: str, way: str, code: str
) -> None:
    async with called(running, every[surface], kind, way) as tool:
        bad = await tool.on.call(tool.name, {"number": 7})
        assert (bad.state, bad.code, bad.result) == ("FAILED", code, None)
        assert [problem["path"] for problem in bad.problems] == (["/twice"] if way == "wrong" else [])


@SURFACES
@KINDS
async def test_a_tool_is_over_its_time(
    running: SpawnedService, every: dict[str, Surface], surface: str, kind: str
) -> None:
    async with called(running, every[surface], kind, "sleep") as tool:
        late = await tool.on.call(tool.name, {"number": 7}, timeout=0.5)
        assert (late.state, late.code) == ("FAILED", "tool_timeout")


@SURFACES
@KINDS
async def test_a_person_agrees_or_refuses(
    running: SpawnedService, every: dict[str, Surface], surface: str, kind: str
) -> None:
    async with called(running, every[surface], kind, "guarded") as tool:
        wanted = await tool.on.call(tool.name, {"number": 7})
        assert wanted.state == "PENDING_APPROVAL"
        assert wanted.call_id in await tool.on.waiting()
        assert tool.node.tasks == []
        await tool.on.decide(wanted.call_id, True, "planned")
        done = await tool.on.end(wanted.call_id)
        assert (done.state, done.result) == ("SUCCEEDED", {"twice": 14, "words": []})

        refused = await tool.on.call(tool.name, {"number": 8})
        await tool.on.decide(refused.call_id, False, "not on a Friday")
        assert (await tool.on.end(refused.call_id)).state == "REJECTED"
        assert wanted.call_id not in await tool.on.waiting()
        assert refused.call_id not in await tool.on.waiting()
