"""Reliability anchor 48: whatever is listed, registered, imported, previewed or validated, no process is started, no
code of the operator's is loaded and no container made. The interpreter's own audit events prove it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from audit_trail import CONNECTS, STARTS, audited, connections
from docker_engine import Container, FakeDocker, docker_engine
from service import RunningService, running_service

COMMANDS = [
    ["npx", "-c", "touch MARK"],
    ["npx", "-y", "@scope/server"],
    ["uvx", "server"],
    ["sh", "-c", "touch MARK"],
    ["python", "-c", "open('MARK', 'w')"],
    ["git", "clone", "--upload-pack", "touch MARK", "x"],
    ["node", "--eval", "1"],
]
LOADED = "a_module_that_marks_its_import"
ENVIRONMENT = {"LD_PRELOAD": "/tmp/evil.so", "NODE_OPTIONS": "--require /tmp/evil.js", "PYTHONSTARTUP": "/tmp/evil.py"}


def bindings() -> list[dict[str, Any]]:
    """Executions that ask for a command, wherever one might be read."""
    found: list[dict[str, Any]] = []
    for command in COMMANDS[:2]:
        line, (program, *rest) = " ".join(command), command
        for kind in ("mcp", "python", "container", "http", "builtin", "pipeline", "agent", "shell", "command"):
            found += [
                {"kind": kind, "binding": {"command": command, "env": ENVIRONMENT}},
                {"kind": kind, "binding": {"command": program, "args": rest, "env": ENVIRONMENT}},
                {"kind": kind, "binding": {"command": line, "shell": True}},
            ]
        found += [
            {"kind": "mcp", "binding": {"server": line, "tool": "x"}},
            {"kind": "python", "binding": {"function": "os:system", "args": rest}},
            {"kind": "python", "binding": {"function": f"os:system('{line}')"}},
            {"kind": "container", "binding": {"image": "allowed:1", "command": command, "env": ENVIRONMENT}},
            {"kind": "container", "binding": {"image": "allowed:1", "entrypoint": command}},
            {"kind": "http", "binding": {"url": f"ext::{line}"}},
        ]
    found.append({"kind": "python", "binding": {"function": "marked"}})
    return found


async def never(container: Container) -> int:
    raise AssertionError(f"{container.name} was started")


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient, FakeDocker]]:
    """Where all kinds of tools are on."""
    (tmp_path / f"{LOADED}.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'MARK')!r}).touch()\n\ndef run() -> str:\n    return 'ran'\n"
    )
    function = {"function": f"{LOADED}:run", "environment": {"PYTHONPATH": str(tmp_path)}}
    async with docker_engine(tmp_path, {"allowed:1": never}) as (host, engine):
        config = {
            "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
            "tools": {
                "functions": {"marked": function},
                "execution": "process",
                "images": [{"image": "allowed:*"}],
                "docker_host": host,
                "hosts": ["127.0.0.1"],
                "mcp_hosts": ["127.0.0.1"],
            },
        }
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30, trust_env=False) as http,
        ):
            yield running, http, engine


async def sent(http: httpx2.AsyncClient, method: str, path: str, body: Any = None) -> httpx2.Response:
    answer = await http.request(method, path, json=body)
    assert answer.status_code < 500 or answer.status_code == 501, (method, path, body, answer.text)
    return answer


async def everything_but_calling(http: httpx2.AsyncClient) -> None:
    kept = await _registered(http)
    for execution in bindings():
        for method, path in (("PUT", f"/tools/{kept}"), ("PUT", f"/api/v1/tools/{kept}")):
            await sent(http, method, path, {"execution": execution})
        await sent(http, "POST", f"/api/v1/tools/{kept}/validate", {"arguments": {"command": "touch MARK"}})
        await sent(http, "GET", f"/api/v1/tools/{kept}")
    listed = (await sent(http, "GET", "/api/v1/tools?limit=500")).json()["tools"]
    assert {"terminal", "python-executor", "marked"} <= {tool["name"] for tool in listed}
    for tool in listed:
        for arguments in ({}, {"command": "touch MARK"}, {"code": "open('MARK', 'w')"}, {"action": "run"}):
            await sent(http, "POST", f"/api/v1/tools/{tool['tool_id']}/validate", {"arguments": arguments})
        await sent(http, "GET", f"/api/v1/tools/{tool['tool_id']}")
    for path in ("/tools/", "/tools/active/", "/queries/active-tools-with-nodes", "/monitoring/data-integrity"):
        await sent(http, "GET", path)
    for path in ("/openapi.json", "/api/v1/mcp/servers", "/api/v1/tool-calls", "/api/v1/approvals"):
        await sent(http, "GET", path)


async def _registered(http: httpx2.AsyncClient) -> str:
    """Registers all that is taken; the id of one."""
    plain = await sent(http, "POST", "/tools/", {"name": "plain", "category": "c"})
    for number, execution in enumerate(bindings()):
        for path in ("/tools/", "/api/v1/tools"):
            body = {"name": f"t{number}{path}", "category": "c", "execution": execution}
            await sent(http, "POST", path, body)
    return str(plain.json()["tool_id"])


async def _commands_elsewhere(http: httpx2.AsyncClient) -> None:
    for command in COMMANDS:
        program, *rest = command
        for number, body in enumerate(
            (
                {"command": command},
                {"command": program, "args": rest, "env": ENVIRONMENT},
                {"url": "http://127.0.0.1:9/", "command": command},
                {"url": " ".join(command)},
                {"transport": "stdio", "command": program},
            )
        ):
            answer = await sent(http, "POST", "/api/v1/mcp/servers", {"name": f"s{number}", **body})
            assert answer.status_code == 400, answer.text
        for change in (
            {"tools": {"mcp_servers": {"x": {"command": command}}}},
            {"tools": {"functions": {"x": {"function": "os:system"}}}},
            {"tools": {"images": [{"image": "*"}]}},
            {"tools": {"docker_host": "tcp://127.0.0.1:2375"}},
            {"tools": {"execution": "container"}},
            {"tools": {"execution_image": "evil"}},
            {"tasks": {"handlers": {"x": "os:system"}}},
        ):
            for method in ("PATCH", "POST"):
                answer = await sent(http, method, "/api/orchestrator/config", change)
                assert answer.status_code == 400, (method, change, answer.text)


async def test_nothing_is_started_but_by_a_call(tmp_path: Path) -> None:
    async with served(tmp_path) as (running, http, engine):
        with audited(STARTS) as started:
            await everything_but_calling(http)
            await _commands_elsewhere(http)
        assert started == []
        assert engine.created == []
        assert not (tmp_path / "MARK").exists()
        assert LOADED not in sys.modules
        with audited(STARTS) as started:  # what tells that this test could have failed
            call = (await sent(http, "POST", "/api/v1/tools/marked/call", {"arguments": {}})).json()
        assert call["result"] == "ran", call
        assert [event for event, _ in started] == ["subprocess.Popen"]
        assert (tmp_path / "MARK").exists()
        with audited(CONNECTS) as found:
            body = {
                "name": "web",
                "category": "c",
                "execution": {"kind": "http", "binding": {"url": "http://127.0.0.1:9/"}},
            }
            await sent(http, "POST", "/tools/", body)
            port = int(running.url.rpartition(":")[2])
            assert connections(found, port) == []
            await sent(http, "POST", "/api/v1/tools/web/call", {"arguments": {}})
        assert connections(found, port) == [("127.0.0.1", 9)]


async def test_a_tool_that_calls_for_a_command_gets_none(tmp_path: Path) -> None:
    """Called, too, a binding leads only to what the operator has named."""
    async with served(tmp_path) as (_, http, engine):
        with audited(STARTS) as started:
            for number, execution in enumerate(bindings()):
                if execution["kind"] == "container" or execution["binding"] == {"function": "marked"}:
                    continue
                body = {"name": f"t{number}", "category": "c", "execution": execution}
                answer = await sent(http, "POST", "/tools/", body)
                if answer.status_code == 200:
                    assert execution["kind"] in ("pipeline", "agent"), execution
                    answer = await sent(http, "POST", f"/api/v1/tools/t{number}/call", {"arguments": {}})
                assert answer.status_code in (400, 422, 501), (execution, answer.text)
        assert started == []
        assert engine.created == []
