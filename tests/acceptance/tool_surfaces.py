"""Tools as they are called through the API, the command line and the client library, told in the same words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
from cli_command import CommandLine

from doubling import NUMBER, TWICE
from orchestrator_client import AsyncClient, InvalidArguments
from orchestrator_client import ToolCall as ClientCall

KEYS = {"viewer": "v" * 24, "operator": "o" * 24, "developer": "d" * 24, "other": "t" * 24, "admin": "a" * 24}
AUTH = {
    "enabled": True,
    "keys": [
        {"name": name, "key": key, "role": "developer" if name == "other" else name} for name, key in KEYS.items()
    ],
}
FUNCTIONS = """
import os, time

def double(number, words=()):
    with open(__file__ + ".taken", "a") as taken:
        taken.write(f"{number}\\n")
    return {"twice": number * 2, "words": list(words)}

def wrong(number):
    return {"twice": "two"}

def refuse(number):
    raise ValueError("not today")

def sleep(number):
    time.sleep(60)

def vanish(number):
    os._exit(3)
"""


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def function(name: str, **more: Any) -> dict[str, Any]:
    """An entry of `tools.functions`."""
    return {"function": f"called_functions:{name}", "input_schema": NUMBER, "output_schema": TWICE, **more}


def python_tools(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration with functions of every behaviour, and the environment in which they are found. `double` writes
    down what it takes, in called_functions.py.taken."""
    (folder / "called_functions.py").write_text(FUNCTIONS)
    functions = {f"python-{name}": function(name) for name in ("double", "wrong", "refuse", "sleep", "vanish")}
    functions["python-guarded"] = function("double", approval="always")
    config = {"auth": AUTH, "tools": {"hosts": ["127.0.0.0/8"], "functions": functions}}
    return config, {"PYTHONPATH": str(folder)}


@dataclass(frozen=True)
class Told:
    """What a caller learns: `state` of the call ('' where there is none), its result, or why not."""

    state: str
    call_id: str = ""
    result: Any = None
    code: str = ""
    problems: tuple[Mapping[str, Any], ...] = ()


def told(call: Mapping[str, Any]) -> Told:
    error = call["error"] or {}
    return Told(call["state"], call["call_id"], call["result"], error.get("code", ""), tuple(error.get("problems", ())))


class Surface(Protocol):
    """As the developer; decisions are the administrator's."""

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Told: ...

    async def waiting(self) -> list[str]:
        """Ids of the calls that wait for approval."""

    async def decide(self, call_id: str, approved: bool, reason: str) -> None: ...

    async def end(self, call_id: str) -> Told:
        """The call when it has ended."""


class Api:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Told:
        body = {"arguments": arguments} | ({"timeout": timeout} if timeout is not None else {})
        answer = await self._client.post(f"/api/v1/tools/{name}/call", json=body, headers=bearer("developer"))
        said = answer.json()
        if answer.status_code == 422:
            return Told("", code=said["details"]["code"].lower(), problems=tuple(said["details"]["problems"]))
        assert answer.status_code == (200 if said["state"] not in ("PENDING_APPROVAL", "RUNNING") else 202), answer.text
        return told(said)

    async def waiting(self) -> list[str]:
        answer = await self._client.get("/api/v1/approvals", headers=bearer("admin"))
        return [one["call_id"] for one in answer.json()["approvals"]]

    async def decide(self, call_id: str, approved: bool, reason: str) -> None:
        path = f"/api/v1/approvals/{call_id}/{'approve' if approved else 'reject'}"
        answer = await self._client.post(path, json={"reason": reason}, headers=bearer("admin"))
        assert answer.status_code == 200, answer.text

    async def end(self, call_id: str) -> Told:
        answer = await self._client.get(f"/api/v1/tool-calls/{call_id}?wait=20", headers=bearer("developer"))
        return told(answer.json()["call"])


class Cli:
    def __init__(self, command: CommandLine, folder: Path) -> None:
        self._command = command
        for name, key in KEYS.items():
            (folder / f"{name}.key").write_text(key)
        self._folder = folder

    async def _run(self, who: str, *arguments: str) -> tuple[int, Any]:
        done = await self._command(*arguments, "--json", "--api-key-file", str(self._folder / f"{who}.key"))
        return done.status, done.json

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Told:
        given = [part for field, value in arguments.items() for part in ("--arg-json", f"{field}={json.dumps(value)}")]
        limit = ["--attempt-timeout", str(timeout)] if timeout is not None else []
        status, said = await self._run("developer", "tools", "call", name, *given, *limit)
        assert (status == 0) == bool(said.get("success")), said
        if "call_id" in said:
            return told(said)
        return Told("", code=said["code"].lower(), problems=tuple(said["problems"]))

    async def waiting(self) -> list[str]:
        _, said = await self._run("admin", "approvals", "list")
        return [one["call_id"] for one in said["approvals"]]

    async def decide(self, call_id: str, approved: bool, reason: str) -> None:
        word = "approve" if approved else "reject"
        status, said = await self._run("admin", "approvals", word, call_id, "--reason", reason)
        assert status == 0, said

    async def end(self, call_id: str) -> Told:
        _, said = await self._run("developer", "tools", "call-status", call_id, "--wait")
        return told(said)


class Sdk:
    def __init__(self, client: AsyncClient, admin: AsyncClient) -> None:
        self._client = client
        self._admin = admin

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout: float | None = None) -> Told:
        try:
            return _of(await self._client.call_tool(name, arguments, timeout=timeout))
        except InvalidArguments as error:
            return Told("", code=error.code.lower(), problems=tuple(error.problems))

    async def waiting(self) -> list[str]:
        return [one.call_id for one in await self._admin.approvals()]

    async def decide(self, call_id: str, approved: bool, reason: str) -> None:
        await (self._admin.approve if approved else self._admin.reject)(call_id, reason)

    async def end(self, call_id: str) -> Told:
        return _of(await self._client.wait_for_tool_call(call_id, 20))


def _of(call: ClientCall) -> Told:
    error = call.error
    return Told(
        call.state.value,
        call.call_id,
        call.result,
        error.code if error else "",
        error.problems if error else (),
    )


@asynccontextmanager
async def surfaces(url: str, command: CommandLine, folder: Path) -> AsyncIterator[dict[str, Surface]]:
    async with (
        httpx2.AsyncClient(base_url=url, timeout=40) as client,
        AsyncClient(url, KEYS["developer"]) as developer,
        AsyncClient(url, KEYS["admin"]) as admin,
    ):
        yield {"api": Api(client), "cli": Cli(command.at(url), folder), "sdk": Sdk(developer, admin)}
