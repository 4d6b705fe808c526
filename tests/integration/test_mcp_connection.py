"""A connection to a real MCP server, as who holds it sees it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from mcp_servers import demo_server, stdio_entry
from orchestrator.adapters.mcp import SdkConnector
from orchestrator.domain.errors import ToolTimeout
from orchestrator.domain.mcp import McpServer
from orchestrator.ports.mcp import McpConnection


def has(mark: Path, word: str) -> bool:
    return mark.exists() and word in mark.read_text()


async def marked(mark: Path, word: str) -> None:
    async with asyncio.timeout(20):
        while not has(mark, word):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


async def called_off(connection: McpConnection, mark: Path, turns: int) -> None:
    """Two limits of one call are over, a few turns of the loop apart."""
    calling = asyncio.create_task(connection.call("sleep", {}, 30))
    await marked(mark, "sleeping")
    calling.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling
    await marked(mark, "cancelled")


@pytest.mark.parametrize("turns", range(5))
async def test_a_call_that_is_called_off_twice_is_called_off_at_the_server(turns: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    entry = stdio_entry(MARK=str(mark))
    by_command = McpServer("local", command=tuple(entry["command"]), env=entry["env"])
    async with SdkConnector().connect(by_command, None, lambda: None, 30) as connection:
        await called_off(connection, mark, turns)
    mark.unlink()
    async with demo_server(MARK=str(mark)) as demo:
        by_url = McpServer("web", url=demo.url)
        async with SdkConnector().connect(by_url, None, lambda: None, 30) as connection:
            await called_off(connection, mark, turns)


async def test_a_connection_outlives_a_call_whose_time_is_over(tmp_path: Path) -> None:
    entry = stdio_entry(MARK=str(tmp_path / "mark"))
    server = McpServer("local", command=tuple(entry["command"]), env=entry["env"])
    async with SdkConnector().connect(server, None, lambda: None, 10) as connection:
        with pytest.raises(ToolTimeout):
            await connection.call("sleep", {}, 0.2)
        assert not connection.closed.is_set()
        assert (await connection.call("echo", {"text": "x"}, 10)).text == "x"
