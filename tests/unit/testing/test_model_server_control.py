"""The control plane, the in-process API and the command."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from raw_connection import Connect

from orchestrator.domain.errors import ConfigurationError
from orchestrator.testing.model_server import Mode, ModelServer, Rule, Settings
from orchestrator.testing.model_server.behaviour import Kind
from orchestrator.testing.model_server.command import parser

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": False}
STREAM = {**CHAT, "stream": True}


async def test_modes_over_http(server: ModelServer, client: httpx2.AsyncClient) -> None:
    mode = {"mode": "status", "status": 503, "headers": {"retry-after": "3"}, "path": "/api/*", "times": 1}
    added = await client.post("/_control/mode", json=mode)
    answers = [await client.post("/api/chat", json=CHAT) for _ in range(2)]

    assert added.json()["modes"] == [
        {"kind": "status", "status": 503, "headers": {"retry-after": "3"}, "path": "/api/*", "times": 1}
    ]
    assert [answer.status_code for answer in answers] == [503, 200]
    await client.post("/_control/mode", json={"mode": "hang"})
    assert (await client.delete("/_control/mode")).json() == {"modes": []}
    assert (await client.post("/api/chat", json=CHAT)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/_control/mode", {"mode": "explode"}, "explode"),
        ("/_control/mode", {"mode": "cut", "aftr": 1}, "aftr"),
        ("/_control/mode", [], "object"),
        ("/_control/models", {"models": [{"size": 1}]}, "name"),
        ("/_control/models", {}, "models"),
        ("/_control/settings", {"ttft": 1}, "ttft"),
        ("/_control/nothing", {}, "/_control/state"),
    ],
)
async def test_mistakes_are_told(path: str, body: Any, word: str, client: httpx2.AsyncClient) -> None:
    answer = await client.post(path, json=body)

    assert answer.status_code in (400, 404)
    assert word in answer.json()["error"]


async def test_settings_models_and_reset_over_http(server: ModelServer, client: httpx2.AsyncClient) -> None:
    await client.post("/_control/settings", json={"tokens": 7})
    await client.post("/_control/models", json={"models": ["x", {"name": "y", "size": 5}]})
    long = (await client.post("/api/chat", json={**CHAT, "model": "x"})).json()
    tags = (await client.get("/api/tags")).json()["models"]
    assert (long["eval_count"], [model["name"] for model in tags], tags[1]["size"]) == (7, ["x:latest", "y:latest"], 5)

    await client.post("/_control/reset")

    assert (await client.get("/_control/models")).json() == {"models": ["demo", "llama3:8b"]}
    state = (await client.get("/_control/state")).json()
    assert (state["total"], state["loads"], state["requests"], state["in_flight"]) == (0, 0, [], 0)
    assert (await client.post("/api/chat", json=CHAT)).json()["eval_count"] == 2


async def test_the_key_is_not_shown_and_the_control_plane_needs_none() -> None:
    async with ModelServer(required_key="secret") as server, httpx2.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/api/tags", headers={"authorization": "Bearer secret"})).status_code == 200
        assert (await client.get("/v1/models", headers={"x-api-key": "secret"})).status_code == 200
        for path in ("/_control/settings", "/_control/state"):
            shown = await client.get(path)
            assert shown.status_code == 200
            assert "required_key" not in shown.text


async def test_hanging_requests_are_released_over_http(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("hang")
    hanging = asyncio.create_task(client.post("/api/chat", json=CHAT))
    await server.wait_for(lambda seen: seen.hanging == 1)

    released = await client.post("/_control/release")

    assert released.json() == {"released": 1}
    assert (await hanging).status_code == 200


async def test_requests_are_recorded(server: ModelServer, client: httpx2.AsyncClient) -> None:
    await client.post("/v1/chat/completions?x=1", json=STREAM, headers={"X-Mark": "here"})

    (record,) = server.requests
    assert (record.method, record.path, record.query, record.model) == ("POST", "/v1/chat/completions", "x=1", "demo")
    assert (record.headers["x-mark"], record.body, json.loads(record.raw or b"")) == ("here", STREAM, STREAM)
    assert (record.status, record.tokens, record.finished, record.disconnected) == (200, 2, True, False)
    assert server.state()["by_model"] == {"demo": 1}
    assert json.loads(json.dumps(server.state()))["requests"][0]["number"] == 1


async def test_kill_resets_everybody_and_restart_keeps_the_port(server: ModelServer, connect: Connect) -> None:
    server.mode("hang_mid", after=1)
    raws = [await connect() for _ in range(20)]
    for raw in raws:
        raw.post("/api/chat", STREAM)
    await server.wait_for(lambda seen: seen.hanging == 20)
    port = server.port

    await server.kill()

    ends = [await raw.to_end() for raw in raws]
    assert {end for _, end in ends} == {"rst"}
    assert all(b'"echo:"' in got for got, _ in ends)
    assert (server.in_flight, server.disconnects, server.loaded, server.running) == (0, 0, [], False)
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await server.restart()
    server.mode()
    again = await connect()
    again.post("/api/chat", CHAT)
    assert (server.port, (await again.answer())[0]) == (port, 200)
    assert len(server.requests) == 21


async def test_thousands_of_broken_requests_leave_nothing_in_flight(server: ModelServer, connect: Connect) -> None:
    server.mode("flaky", percent=50, seed=1, fault={"kind": "hang"})

    async def one() -> None:
        raw = await connect()
        raw.post("/api/chat", STREAM)
        raw.abort()

    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(50)))
    await server.wait_for(lambda seen: seen.in_flight == 0 and seen.state()["connections"] == 0, timeout=20)

    assert server.hanging == 0


async def test_wait_for_tells_what_it_saw(server: ModelServer) -> None:
    with pytest.raises(TimeoutError, match="'in_flight': 0"):
        await server.wait_for(lambda seen: seen.in_flight == 1, timeout=0.01)


async def test_history_is_bounded(server: ModelServer, client: httpx2.AsyncClient) -> None:
    for _ in range(7):
        await client.post("/api/generate", json={"model": "demo", "prompt": "x" * 10_000_000, "stream": False})
    for _ in range(1000):
        await client.get("/api/version")

    assert len(server.requests) == 1000
    assert server.state()["by_path"] == {"/api/generate": 7, "/api/version": 1000}


async def test_bodies_kept_are_bounded(server: ModelServer, client: httpx2.AsyncClient) -> None:
    for _ in range(7):
        await client.post("/api/generate", json={"model": "demo", "prompt": "x" * 10_000_000, "stream": False})

    assert [record.raw is not None for record in server.requests] == [False] + [True] * 6


def test_unknown_dialects_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="klingon"):
        ModelServer(dialects=["klingon"])
    with pytest.raises(ConfigurationError):
        ModelServer(dialects=[])


COMMAND = [sys.executable, "-m", "orchestrator.testing.model_server"]


def test_the_command_prints_its_url_serves_and_ends_with_0() -> None:
    options = ["--port", "0", "--dialect", "ollama", "--model", "a=2GB", "--model", "b", "--vram", "3GB"]
    with subprocess.Popen([*COMMAND, *options, "--mode", "status"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with httpx2.Client(base_url=ready["url"]) as client:
            sizes = [model["size"] for model in client.get("/api/tags").json()["models"]]
            failed = client.post("/api/chat", json={**CHAT, "model": "a"}).status_code
            other = client.get("/v1/models").status_code
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)

    assert (ready["dialects"], ready["models"]) == (["ollama"], ["a", "b"])
    assert (sizes, failed, other, code) == ([2_000_000_000, 4_000_000_000], 500, 404, 0)


def test_the_command_tells_that_a_port_is_taken() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        port = json.loads(first.stdout.readline())["port"]
        second = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False)
        first.terminate()

    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr


def test_help_has_examples_and_wrong_sizes_are_refused() -> None:
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    wrong = subprocess.run([*COMMAND, "--vram", "lots"], capture_output=True, text=True, check=False)

    assert "examples:" in shown.stdout
    assert "not a size" in wrong.stderr
    assert wrong.returncode == 2


def test_it_imports_nothing_heavy() -> None:
    code = "import sys, orchestrator.testing.model_server.command; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    heavy = {"uvicorn", "fastapi", "starlette", "pydantic", "sqlalchemy", "httpx2", "httpx"}
    assert heavy.isdisjoint(loaded)
    ours = {name for name in loaded if name.startswith("orchestrator.")}
    assert all(name.startswith(("orchestrator.testing", "orchestrator.domain")) for name in ours)


def test_the_reference_names_every_mode_option_and_route() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "testing.md").read_text()
    options = [option for action in parser()._actions for option in action.option_strings if option.startswith("--")]
    words = [*get_args(Kind), *Mode.__struct_fields__, *Rule.__struct_fields__, *Settings.__struct_fields__, *options]
    routes = ["state", "mode", "release", "reset", "models", "settings"]
    assert [word for word in words if f"`{word}" not in page] == []
    assert [route for route in routes if f"/_control/{route}`" not in page] == []
