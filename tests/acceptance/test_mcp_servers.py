"""Tools, resources and prompts of real MCP servers, by stdio and HTTP, through API and CLI. Their calls are in
test_tool_calls_surfaces.py, with those of other tools."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine

from mcp_demo_server import MANY
from mcp_servers import SERVERS, DemoServer, call, connected, demo_server, stdio_entry
from service import RunningService, running_service, spawned_service

TOOLS = 11 + MANY
BOTH = pytest.mark.parametrize("server", ["local", "web"])


@asynccontextmanager
async def with_both(
    tmp_path: Path, **tools: Any
) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient, DemoServer]]:
    mark = str(tmp_path / "mark")
    async with demo_server(MARK=mark) as demo:
        servers = {
            "local": stdio_entry(MARK=mark) | tools.pop("local", {}),
            "web": {"url": demo.url},
        }
        async with (
            running_service({"tools": {"mcp_servers": servers, **tools}}, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            await connected(running, "local", "web")
            yield running, client, demo


async def test_results_without_a_schema_and_files(tmp_path: Path) -> None:
    async with with_both(tmp_path) as (_, client, _demo):
        for server in ("local", "web"):
            said = await call(client, f"{server}__echo", {"text": "hello"})
            assert (said["state"], said["result"]["text"]) == ("SUCCEEDED", "hello")
            pictured = await call(client, f"{server}__image", {})
            content = await client.get(f"/api/v1/artifacts/{pictured['artifacts'][0]}/content")
            assert content.headers["content-type"] == "image/png"
            assert content.content.startswith(b"\x89PNG")


async def test_a_server_is_told_that_its_answer_is_not_wanted_any_more(tmp_path: Path) -> None:
    async with with_both(tmp_path) as (running, client, _demo):
        for number, server in enumerate(("local", "web"), 1):
            late = await call(client, f"{server}__sleep", {}, timeout=0.3)
            assert late["error"]["code"] == "tool_timeout"
            await running.until(lambda number=number: _marks(tmp_path).count("cancelled") == number)


async def test_a_server_that_crashes_is_started_again(tmp_path: Path) -> None:
    async with with_both(tmp_path) as (_, client, _demo):
        crashed = await call(client, "local__vanish", {})
        assert (crashed["state"], crashed["error"]["code"]) == ("FAILED", "tool_crashed")
        again = await call(client, "local__echo", {"text": "back"})  # waits for the new connection
        assert again["success"], again["error"]
        shown = (await client.get(f"{SERVERS}/local")).json()["server"]
        assert (shown["state"], shown["connections"]) == ("connected", 2)
        assert shown["breaker"]["failures"] == 1
        metrics = (await client.get("/metrics")).text
        assert 'orchestrator_mcp_server_up{server="local"} 1.0' in metrics
        assert 'orchestrator_mcp_server_breaker_state{server="web",state="closed"} 1.0' in metrics
        assert 'orchestrator_mcp_server_calls_total{server="local"} 2.0' in metrics
        assert 'orchestrator_mcp_server_connections_total{server="local"} 2.0' in metrics


async def test_a_server_by_http_that_goes_and_comes_back(tmp_path: Path) -> None:
    async with with_both(tmp_path) as (running, client, demo):
        demo.kill()
        lost = await call(client, "web__echo", {"text": "x"}, timeout=10)
        assert lost["error"]["code"] == "tool_crashed"
        node = next(one for one in (await client.get("/nodes/")).json() if one["id"] == "mcp:web")
        assert (node["node_type"], node["status"]) == ("TOOL_EXECUTOR", "ERROR")
        await demo.start()
        await client.post(f"{SERVERS}/web/refresh")
        await connected(running, "web")
        assert (await call(client, "web__echo", {"text": "x"}))["result"]["text"] == "x"
        node = next(one for one in (await client.get("/nodes/")).json() if one["id"] == "mcp:web")
        assert node["status"] == "ACTIVE"


async def test_lists_follow_the_server(tmp_path: Path) -> None:
    async with with_both(tmp_path) as (running, client, _demo):
        for server in ("local", "web"):
            found = (await client.get(f"{SERVERS}/{server}/tools?limit=1000")).json()
            assert found["total"] == TOOLS  # over several pages of the server
            await call(client, f"{server}__grow", {})
            peer = running.service.mcp.get(server)
            await running.until(lambda peer=peer: len(peer.tools) == TOOLS + 1)
            assert (await call(client, f"{server}__echo", {"text": "x"}))["success"]
        names = [one["name"] for one in (await client.get(f"{SERVERS}/local/tools?limit=1000")).json()["tools"]]
        assert any(name.startswith("local__odd_name__-") for name in names)


@BOTH
async def test_resources_and_prompts(tmp_path: Path, server: str) -> None:
    async with with_both(tmp_path) as (_, client, _demo):
        found = (await client.get(f"{SERVERS}/{server}/resources")).json()
        assert [one["uri"] for one in found["resources"]] == ["demo://notes", "demo://bytes"]
        assert found["templates"][0]["uriTemplate"] == "demo://{name}"
        read = await client.get(f"{SERVERS}/{server}/resources/read", params={"uri": "demo://notes"})
        assert read.json()["contents"][0]["text"] == "remember"
        missing = await client.get(f"{SERVERS}/{server}/resources/read", params={"uri": "demo://none"})
        assert missing.status_code == 502
        assert [one["name"] for one in (await client.get(f"{SERVERS}/{server}/prompts")).json()["prompts"]] == ["greet"]
        told = await client.post(f"{SERVERS}/{server}/prompts/greet", json={"arguments": {"who": "Ada"}})
        assert told.json()["messages"][0]["content"]["text"] == "Greet Ada."
        assert (await client.get(f"{SERVERS}/nobody/prompts")).status_code == 404


async def test_a_hint_counts_only_where_it_is_trusted(tmp_path: Path) -> None:
    async with with_both(tmp_path, local={"trust_annotations": True}) as (_, client, _demo):
        effects = {}
        for server in ("local", "web"):
            tools = (await client.get(f"{SERVERS}/{server}/tools?limit=1000")).json()["tools"]
            effects[server] = {one["tool"]: one["side_effect"] for one in tools}
        assert (effects["local"]["echo"], effects["local"]["guarded"]) == ("read", "dangerous")
        assert (effects["web"]["echo"], effects["web"]["guarded"]) == ("external", "external")


async def test_by_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with with_both(tmp_path) as (running, _client, _demo):
        run = CommandLine(capsys, running.url)
        rows = {row["name"]: row for row in (await run("mcp", "servers")).rows}
        assert (rows["local"]["state"], rows["web"]["transport"]) == ("connected", "http")
        assert len((await run("mcp", "tools", "web", "--json")).json) == TOOLS
        assert (await run("mcp", "resources", "local", "demo://notes")).out == "remember\n"
        assert "demo://bytes" in (await run("mcp", "resources", "web")).out
        assert (await run("mcp", "prompts", "web", "greet", "--arg", "who=Ada")).out == "user: Greet Ada.\n"
        assert "greet" in (await run("mcp", "prompts", "web")).out
        assert (await run("mcp", "refresh", "web")).status == 0


async def test_servers_that_clients_add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = {"database": {"url": f"sqlite:///{tmp_path / 'kept.db'}"}}
    config = {**database, "tools": {"mcp_hosts": ["127.0.0.0/8"]}}
    async with demo_server() as demo:
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            body = {"name": "added", "url": demo.url, "headers": {"X-Secret": "hush-hush"}}
            made = await client.post(SERVERS, json=body)
            assert made.status_code == 201
            assert "hush-hush" not in made.text
            assert (await client.post(SERVERS, json=body)).status_code == 409
            await connected(running, "added")
            assert (await call(client, "added__echo", {"text": "x"}))["success"]
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            await connected(running, "added")  # after a restart, too
            assert [node["id"] for node in (await client.get("/nodes/")).json()] == ["mcp:added"]
            run = CommandLine(capsys, running.url)
            assert (await run("mcp", "remove", "added", "--yes")).status == 0
            assert (await client.get(SERVERS)).json()["servers"] == []
            assert (await client.get("/nodes/")).json() == []
            assert (await call(client, "added__echo", {"text": "x"}))["success"] is False
            assert (await run("mcp", "add", "again", demo.url)).status == 0
            assert (await client.delete(f"{SERVERS}/none")).status_code == 404


async def test_nothing_is_shown_where_no_server_is(tmp_path: Path) -> None:
    async with (
        running_service({}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        assert (await client.get(SERVERS)).json()["servers"] == []
        assert (await client.get("/nodes/")).json() == []


async def test_the_command_of_a_server_ends_with_the_service_and_knows_none_of_its_variables(tmp_path: Path) -> None:
    os.environ["TEST_OWN_SECRET"], os.environ["TEST_MCP_KEY"] = "own-secret", "mcp-key"
    entry = stdio_entry(KEY="env:TEST_MCP_KEY")
    try:
        async with (
            running_service({"tools": {"mcp_servers": {"local": entry}}}, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
        ):
            await connected(running, "local")
            found = (await call(client, "local__environment", {}))["result"]
            assert found["KEY"] == "mcp-key"
            assert "own-secret" not in found.values()
            child = _children(os.getpid(), "mcp_demo_server.py")
            assert len(child) == 1
            assert os.getpgid(child[0]) == child[0] != os.getpgid(0)
    finally:
        del os.environ["TEST_OWN_SECRET"], os.environ["TEST_MCP_KEY"]
    assert _children(os.getpid(), "mcp_demo_server.py") == []


async def test_the_command_of_a_server_ends_with_a_service_that_is_killed(tmp_path: Path) -> None:
    config = {"tools": {"mcp_servers": {"local": stdio_entry()}}}
    with spawned_service(config, tmp_path, timeout=90) as spawned:
        async with httpx2.AsyncClient(base_url=spawned.url, timeout=30) as client, asyncio.timeout(30):
            while (await client.get(f"{SERVERS}/local")).json()["server"]["state"] != "connected":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        child = _children(spawned.process.pid, "mcp_demo_server.py")[0]
        os.kill(child, signal.SIGSTOP)  # so that it cannot end by itself
        spawned.kill()
        deadline = time.monotonic() + 10
        while _alive(child) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        assert not _alive(child)


def _marks(folder: Path) -> list[str]:
    mark = folder / "mark"
    return mark.read_text().split() if mark.exists() else []


def _children(parent: int, word: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and word in (folder / "cmdline").read_text():
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(stat[1]) == parent:
                    found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@BOTH
async def test_the_tools_for_servers(tmp_path: Path, server: str) -> None:
    trusted = {"web": {}, "local": {"trust_annotations": True}}
    async with with_both(tmp_path, local=trusted["local"]) as (_, client, _demo):
        here = {"server_name": server}
        connect = {"action": "connect", **here, "server_config": {"command": "x"}}
        met = (await call(client, "mcp-server", connect))["result"]
        assert (met["connected"], met["capabilities"]) == (True, ["prompts", "resources", "tools"])
        listed = (await call(client, "mcp-server", {"action": "list_tools", **here, "limit": 2}))["result"]
        assert ([one["name"] for one in listed["tools"]], listed["total"]) == (["echo", "double"], TOOLS)
        wanted = {"action": "execute_tool", **here, "tool_name": "double"}
        done = await call(client, "mcp-server", {**wanted, "tool_params": {"number": 7}})
        assert done["result"]["result"] == {"twice": 14, "words": []}
        bad = await call(client, "mcp-server", {**wanted, "tool_params": {"number": "7"}})
        assert (bad["error"]["code"], "tool_params/number" in bad["error"]["message"]) == ("invalid_request", True)
        for name, code in (("refuse", "tool_failed"), ("wrong", "tool_failed"), ("none", "not_found")):
            params = {"number": 1} if name == "wrong" else {}
            failed = await call(client, "mcp-server", {**wanted, "tool_name": name, "tool_params": params})
            assert failed["error"]["code"] == code
        guarded = await call(client, "mcp-server", {**wanted, "tool_name": "guarded", "tool_params": {"number": 1}})
        assert guarded["success"] is (server == "web")
        assert guarded["success"] or guarded["error"]["code"] == "forbidden"
        left = await call(client, "mcp-server", {"action": "disconnect", **here})
        assert left["result"]["connected"] is True

        found = (await call(client, "mcp-resource", {"action": "list", **here}))["result"]
        assert {one["server_name"] for one in found["resources"]} == {server}
        read = (await call(client, "mcp-resource", {"action": "read", "uri": "demo://notes"}))["result"]
        assert read["content"] == read["contents"][0]["text"]
        for action in ("subscribe", "unsubscribe"):
            refused = await call(client, "mcp-resource", {"action": action, **here})
            assert refused["error"]["code"] == "not_available"


async def test_no_rule_of_the_operator_is_passed_by(tmp_path: Path) -> None:
    """What needs a person by its own name needs one by the name of its server."""
    trusted = {"trust_annotations": True}
    async with with_both(tmp_path, local=trusted, approvals={"read": "always"}) as (_, client, _demo):
        wanted = {"action": "execute_tool", "tool_name": "echo", "tool_params": {"text": "hello"}}
        refused = await call(client, "mcp-server", {**wanted, "server_name": "local"})
        assert refused["error"]["code"] == "forbidden"
        assert (await call(client, "mcp-server", {**wanted, "server_name": "web"}))[
            "success"
        ]  # external, as far as known


async def test_the_tools_for_servers_name_none_and_start_none(tmp_path: Path) -> None:
    async with (
        running_service({}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        config = {"command": "touch", "args": [str(tmp_path / "started")]}
        for action in ("connect", "list_tools", "disconnect"):
            none = await call(client, "mcp-server", {"action": action, "server_name": "none", "server_config": config})
            assert none["error"]["code"] == "not_found"
        assert (await call(client, "mcp-resource", {"action": "list"}))["result"]["total"] == 0
        none = await call(client, "mcp-resource", {"action": "read", "uri": "demo://notes"})
        assert none["error"]["code"] == "not_found"
        assert not (tmp_path / "started").exists()
