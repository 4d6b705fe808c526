"""The official client lists and calls our tools, and reads our artifacts, over both transports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import COMMAND, environment
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage, MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription
from mcp.server.subscriptions import ResourcesListChanged, ToolsListChanged
from mcp_types import ResourceListChangedNotification, ToolListChangedNotification

from mcp_servers import connected, stdio_entry
from service import RunningService, running_service

KEYS = {"developer": "d" * 24, "viewer": "v" * 24, "admin": "a" * 24}
AUTH = {"enabled": True, "keys": [{"name": role, "key": key, "role": role} for role, key in KEYS.items()]}
CONFIG: dict[str, Any] = {"auth": AUTH, "tools": {"approvals": {"write": "always"}}}
MODES = pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
HELLO = {"template": "Hello {{ name }}", "data": {"name": "Ada"}}
TOOL = {
    "name": "new-one",
    "category": "x",
    "execution": {"kind": "http", "binding": {"url": "http://127.0.0.1:9/x"}},
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
MOST_BODY = 64 * 1024
ACCEPT = {"Accept": "application/json, text/event-stream"}


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[role]}"}


@asynccontextmanager
async def by_http(running: RunningService, role: str, mode: str) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=bearer(role), timeout=30) as http:
        streams = streamable_http_client(f"{running.url}/mcp", http_client=http)
        async with Client(streams, mode=mode, cache=None) as client:
            yield client


@asynccontextmanager
async def by_stdio(
    running: RunningService,
    role: str,
    mode: str,
    command: tuple[str, ...] = ("mcp",),
    hear: MessageHandlerFnT | None = None,
) -> AsyncIterator[Client]:
    env = {"ORCHESTRATOR_API_KEY": KEYS[role], "ORCHESTRATOR_URL": running.url, **_python()}
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *command], env=env)
    async with Client(server, mode=mode, cache=None, message_handler=hear) as client:
        yield client


def _python() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


async def everything(client: Client) -> None:
    """What a client does."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["template"].input_schema["type"] == "object"
    assert tools["template"].output_schema is not None
    hints = tools["template"].annotations
    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint) == (True, False)

    rendered = await client.call_tool("template", HELLO)
    assert not rendered.is_error
    assert "Hello Ada" in rendered.content[0].text
    assert isinstance(rendered.structured_content, dict)

    wrong = await client.call_tool("template", {"template": 5})
    assert wrong.is_error
    assert "do not fit the input schema" in wrong.content[0].text
    assert "/template" in wrong.content[1].text

    pending = await client.call_tool("mcp-memory", {"action": "store", "key": "k", "value": 1})
    assert pending.is_error
    assert "has to approve" in pending.content[0].text
    assert "approval_id" in pending.content[1].text

    with pytest.raises(MCPError, match="not found"):
        await client.call_tool("no-such-tool", {})


async def resources(client: Client, artifact_id: str) -> None:
    listed = (await client.list_resources()).resources
    assert [str(one.uri) for one in listed] == [f"artifact://{artifact_id}"]
    templates = (await client.list_resource_templates()).resource_templates
    assert [one.uri_template for one in templates] == ["artifact://{artifact_id}"]
    contents = (await client.read_resource(f"artifact://{artifact_id}")).contents
    assert contents[0].text == "kept bytes"
    for uri in ("artifact://nothing", "file:///etc/passwd"):
        with pytest.raises(MCPError):
            await client.read_resource(uri)


async def artifact(running: RunningService) -> str:
    headers = {**bearer("admin"), "Content-Type": "text/plain"}
    async with httpx2.AsyncClient(base_url=running.url, headers=headers) as client:
        made = await client.post("/api/v1/artifacts", params={"file_name": "a.txt"}, content=b"kept bytes")
    return str(made.json()["artifact_id"])


@MODES
async def test_by_http(tmp_path: Path, mode: str, revision: str) -> None:
    async with running_service(CONFIG, tmp_path) as running:
        artifact_id = await artifact(running)
        async with by_http(running, "developer", mode) as client:
            assert client.protocol_version == revision
            await everything(client)
            await resources(client, artifact_id)
        async with by_http(running, "viewer", mode) as client:
            assert (await client.list_tools()).tools
            refused = await client.call_tool("template", HELLO)
            assert refused.is_error
            assert "tools.call" in refused.content[0].text


@pytest.mark.parametrize(
    ("mode", "revision", "command"),
    [("auto", "2026-07-28", ("mcp", "serve")), ("legacy", "2025-11-25", ("mcp",))],
)
async def test_by_stdio(tmp_path: Path, mode: str, revision: str, command: tuple[str, ...]) -> None:
    async with running_service(CONFIG, tmp_path) as running:
        artifact_id = await artifact(running)
        async with by_stdio(running, "developer", mode, command) as client:
            assert client.protocol_version == revision
            await everything(client)
            await resources(client, artifact_id)


async def test_each_tool_is_described(tmp_path: Path) -> None:
    async with running_service(CONFIG, tmp_path) as running:
        async with httpx2.AsyncClient(base_url=running.url, headers=bearer("admin")) as http:
            assert (await http.post("/api/v1/tools", json=TOOL)).status_code == 201
        async with by_http(running, "developer", "auto") as client:
            described = {tool.name: tool.description for tool in (await client.list_tools()).tools}
    assert described[TOOL["name"]] == TOOL["name"]
    assert all(described.values())


async def test_nothing_without_a_key(tmp_path: Path) -> None:
    async with (
        running_service(CONFIG, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, headers=ACCEPT) as client,
    ):
        for method in ("GET", "POST", "DELETE"):
            refused = await client.request(method, "/mcp", content=b"not even JSON")
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        wrong = await client.post("/mcp", json=INITIALIZE, headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        for method in ("GET", "DELETE"):
            assert (await client.request(method, "/mcp", headers=bearer("viewer"))).status_code == 405


async def test_older_revisions_and_strange_pages(tmp_path: Path) -> None:
    async with (
        running_service({**CONFIG, "server": {"max_body": MOST_BODY}}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, headers={**ACCEPT, **bearer("developer")}) as client,
    ):
        found = await client.post("/mcp", json=INITIALIZE)
        assert found.status_code == 200
        assert '"protocolVersion":"2025-06-18"' in found.text
        elsewhere = await client.post("/mcp", json=INITIALIZE, headers={"Origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        rebound = await client.post("/mcp", json=INITIALIZE, headers={"Host": "evil.example"})
        assert rebound.status_code == 421
        assert (
            await client.post("/mcp", content=b"{", headers={"Content-Type": "application/json"})
        ).status_code == 400
        assert (await client.post("/mcp", content=b" " * (MOST_BODY + 1))).status_code == 413


async def test_all_pages_and_tools_of_other_servers(tmp_path: Path) -> None:
    config = {**CONFIG, "tools": {"mcp_servers": {"local": stdio_entry(MARK=str(tmp_path / "mark"))}}}
    async with running_service(config, tmp_path) as running:
        await connected(running, "local")
        async with httpx2.AsyncClient(base_url=running.url, headers=bearer("admin")) as api:
            for number in range(100):
                body = {"name": f"described {number}", "category": "x", "description": "d"}
                await api.post("/tools/", json=body)
            execution = {"kind": "mcp", "binding": {"server": "local", "tool": "echo"}}
            made = await api.post("/tools/", json={"name": "Say it, please", "category": "x", "execution": execution})
            assert made.status_code == 200
        async with by_http(running, "developer", "auto") as client:
            names: list[str] = []
            cursor = None
            while True:
                page = await client.list_tools(cursor=cursor)
                names += [tool.name for tool in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert "local__echo" in names
            assert not any(name.startswith("described") for name in names)  # nothing that cannot be called
            odd = next(name for name in names if name.startswith("Say-it-please-"))
            said = await client.call_tool(odd, {"text": "hello"})
            assert said.structured_content == {"content": [{"type": "text", "text": "hello"}], "text": "hello"}
            with pytest.raises(MCPError):
                await client.list_tools(cursor="x")


@MODES
async def test_a_client_that_leaves_ends_its_call(tmp_path: Path, mode: str, revision: str) -> None:
    mark = tmp_path / "mark"
    config = {**CONFIG, "tools": {"mcp_servers": {"local": stdio_entry(MARK=str(mark))}}}
    async with running_service(config, tmp_path) as running:
        await connected(running, "local")
        async with by_http(running, "developer", mode) as client:
            with pytest.raises(MCPError):
                await client.call_tool("local__sleep", {}, read_timeout_seconds=1)
        await running.until(lambda: mark.exists() and "cancelled" in mark.read_text(), timeout=20)


class Relay:
    """What is between a client and the service, and may be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, outer}
        await asyncio.gather(self._pump(reader, outer), self._pump(inner, writer))

    def cut(self) -> None:
        while self._open:
            self._open.pop().close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(65_536):
                writer.write(some)
        writer.close()


@asynccontextmanager
async def relayed(running: RunningService) -> AsyncIterator[tuple[Relay, RunningService]]:
    relay = Relay(int(running.url.rpartition(":")[2]))
    async with await asyncio.start_server(relay.pass_on, "127.0.0.1", 0) as server:
        try:
            yield relay, replace(running, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        finally:
            relay.cut()


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[Subscription]:
    async with client.listen(tools_list_changed=True, resources_list_changed=True) as told, asyncio.timeout(60):
        yield told


@pytest.mark.parametrize("by", [by_http, by_stdio])
async def test_changes_of_the_lists_are_told(
    tmp_path: Path, by: Callable[[RunningService, str, str], AbstractAsyncContextManager[Client]]
) -> None:
    async with (
        running_service(CONFIG, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, headers=bearer("admin")) as api,
        by(running, "developer", "auto") as client,
    ):
        capabilities = client.server_capabilities
        assert capabilities is not None
        assert capabilities.tools is not None
        assert capabilities.resources is not None
        assert (capabilities.tools.list_changed, capabilities.resources.list_changed) == (True, True)
        async with listening(client) as told:
            made = (await api.post("/tools/", json=TOOL)).json()["tool_id"]
            assert isinstance(await anext(told), ToolsListChanged)
            assert any(tool.name == TOOL["name"] for tool in (await client.list_tools()).tools)
            for change in (
                api.put(f"/tools/{made}", json={"description": "otherwise"}),
                api.delete(f"/tools/{made}"),
            ):
                assert (await change).status_code == 200
                assert isinstance(await anext(told), ToolsListChanged)
            kept = await artifact(running)
            assert isinstance(await anext(told), ResourcesListChanged)
            assert (await api.delete(f"/artifacts/{kept}")).status_code == 200
            assert isinstance(await anext(told), ResourcesListChanged)
            running.service.stop()
            assert [change async for change in told] == []  # it ends, and the service does not wait for it
            await asyncio.wait_for(running.task, 20)


async def test_tools_of_other_servers_that_come_are_told(tmp_path: Path) -> None:
    config = {**CONFIG, "tools": {"mcp_servers": {"local": stdio_entry()}}}
    async with running_service(config, tmp_path) as running, by_http(running, "developer", "auto") as client:
        await connected(running, "local")
        async with listening(client) as told:
            await client.call_tool("local__grow", {})
            assert isinstance(await anext(told), ToolsListChanged)


async def test_changes_are_told_to_older_clients_that_can_hear(tmp_path: Path) -> None:
    heard: asyncio.Queue[IncomingMessage] = asyncio.Queue()
    async with (
        running_service(CONFIG, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, headers=bearer("admin")) as api,
        asyncio.timeout(60),
    ):
        async with by_http(running, "developer", "legacy") as client:
            capabilities = client.server_capabilities
            assert capabilities is not None
            assert capabilities.tools is not None
            assert not capabilities.tools.list_changed  # there is no stream by which that could be said
        async with by_stdio(running, "developer", "legacy", hear=heard.put) as client:
            capabilities = client.server_capabilities
            assert capabilities is not None
            assert capabilities.tools is not None
            assert capabilities.tools.list_changed
            await client.list_tools()
            await running.until(lambda: running.service.list_changes.listeners == 1)
            await api.post("/tools/", json=TOOL)
            assert isinstance(await heard.get(), ToolListChangedNotification)
            await artifact(running)
            assert isinstance(await heard.get(), ResourceListChangedNotification)
        await running.until(lambda: running.service.list_changes.listeners == 0)


async def test_who_listens_by_stdio_hears_that_the_service_was_lost(tmp_path: Path) -> None:
    heard: asyncio.Queue[IncomingMessage] = asyncio.Queue()
    async with running_service(CONFIG, tmp_path) as running, relayed(running) as (relay, there):
        lists = running.service.list_changes
        async with by_stdio(there, "developer", "auto") as client, listening(client) as told:
            relay.cut()
            assert [change async for change in told] == []
        await running.until(lambda: lists.listeners == 0)
        async with by_stdio(there, "developer", "legacy", hear=heard.put) as client, asyncio.timeout(60):
            await client.list_resources()
            await running.until(lambda: lists.listeners == 1)
            relay.cut()
            await running.until(lambda: lists.listeners == 0)
            # Nobody knows what has changed until it listens again.
            assert isinstance(await heard.get(), ToolListChangedNotification)
            assert isinstance(await heard.get(), ResourceListChangedNotification)
            assert lists.listeners == 1


async def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as running:
        words = [*COMMAND, "mcp", "serve", "--url", running.url, "--timeout", "60"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env=environment())
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        assert b'"serverInfo"' in await asyncio.wait_for(process.stdout.readline(), 60)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGINT
        assert await process.stdout.read() == b""
        process.stdin.close()


def test_an_address_or_a_key_that_is_wrong_is_told_at_once() -> None:
    words = [*COMMAND, "mcp", "serve", "--url", "http://127.0.0.1:9"]
    done = subprocess.run(words, input=b"", capture_output=True, timeout=60, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"Nothing answers" in done.stderr


def test_the_sdk_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, orchestrator.bootstrap, orchestrator.entrypoints.cli; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"False"


async def test_it_is_not_loaded_by_a_service_without_servers(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from service import running_service\n"
        f"async def main():\n async with running_service({{}}, Path({str(tmp_path)!r})): await asyncio.sleep(0.2)\n"
        "asyncio.run(main()); print('mcp' in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().split()[-1] == "False"
