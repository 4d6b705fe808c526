"""`orchestrator start`: what it says, how it ends, and what it refuses."""

from __future__ import annotations

import json
import shlex
import signal
import socket
from pathlib import Path

import httpx2
import pytest
import yaml
from cli_command import CommandLine, environment, spawn, started

from orchestrator.testing.model_server import ModelServer

ALONE = ("--port", "0", "--no-discover", "--no-demo")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    """In an empty folder, where no configuration lies about."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def configured(folder: Path, **settings: object) -> Path:
    file = folder / "orchestrator.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


async def test_says_where_it_listens_and_what_to_try(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        configured(tmp_path, nodes=[{"id": "a", "url": server.url, "kind": "ollama"}])
        async with started(*ALONE, cwd=tmp_path) as service:
            url = (await service.until("listens on")).split()[-1]
            await service.until("/api/chat")
            said = "\n".join(service.said)
            assert f"a  ollama  {server.url}" in said
            assert "Authentication  off" in said
            assert "demo" not in said
            curls = [shlex.split(line) for line in service.said if line.strip().startswith("curl ")]
            assert len(curls) == 3
            for _, address, _, header, _, body in curls:
                name, _, value = header.partition(": ")
                async with httpx2.AsyncClient() as client:
                    answer = await client.post(address, content=body, headers={name: value})
                assert address.startswith(url)
                assert answer.status_code == 200, answer.text
            ended = await service.signalled(signal.SIGTERM)
    assert ended.status == 0
    assert ended.out == ""
    assert ended.err.splitlines()[-1] == "Stopped."


async def test_an_interrupt_is_a_good_end_and_json_greets_in_one_object(tmp_path: Path) -> None:
    async with started("--port", "0", "--no-discover", "--demo", "--json", cwd=tmp_path) as service:
        greeting = await service.greeting()
        assert greeting["auth"] is False
        assert {node["kind"] for node in greeting["nodes"]} == {"demo"}
        assert httpx2.get(f"{greeting['url']}/health/ready").status_code == 200
        ended = await service.signalled(signal.SIGINT)
    assert ended.status == 0
    assert ended.out == ""


async def test_demo_nodes_are_called_what_they_are(tmp_path: Path) -> None:
    async with started("--port", "0", "--no-discover", cwd=tmp_path) as service:
        await service.until("These are demo nodes: no model runs there")


async def test_shows_how_to_authenticate(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        keys = [{"name": "me", "key": "a-long-enough-test-key"}]
        configured(
            tmp_path,
            nodes=[{"id": "a", "url": server.url}],
            auth={"enabled": True, "keys": keys},
        )
        async with started(*ALONE, cwd=tmp_path) as service:
            line = await service.until("/v1/messages")
            assert "Authorization: Bearer $ORCHESTRATOR_API_KEY" in line
            assert "a-long-enough-test-key" not in "\n".join(service.said)


async def test_reload_starts_again_when_the_configuration_changes(tmp_path: Path) -> None:
    configured(tmp_path, server={"grace": 1}, queue={"max_size": 5})
    async with started(*ALONE, "--reload", cwd=tmp_path) as service:
        first = (await service.until("listens on")).split()[-1]
        assert httpx2.get(f"{first}/api/orchestrator/queue").json()["queue"]["maxSize"] == 5
        await service.until("Nodes")
        configured(tmp_path, server={"grace": 1}, queue={"max_size": 7, "wrong": 1})
        await service.until("orchestrator.yaml changed")
        await service.until("unknown key 'queue.wrong'")
        configured(tmp_path, server={"grace": 1}, queue={"max_size": 7})
        second = (await service.until("listens on")).split()[-1]
        assert httpx2.get(f"{second}/api/orchestrator/queue").json()["queue"]["maxSize"] == 7
        ended = await service.signalled(signal.SIGTERM)
    assert ended.status == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{second}/health")


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = await spawn("start", "--port", str(port), cwd=tmp_path)
    assert result.status == 2
    assert result.err.startswith(f"error: Cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in result.err


def test_an_open_door_is_refused(command: CommandLine) -> None:
    result = command.run("start", "--host", "0.0.0.0")
    assert result.status == 2
    assert "other machines can reach" in result.err
    assert "auth.enabled: true" in result.err


def test_two_ways_of_starting_again_do_not_go_together(command: CommandLine) -> None:
    result = command.run("start", "--restart", "--reload")
    assert (result.status, result.out) == (2, "")
    assert "--reload and --restart do not go together" in result.err


def test_an_unknown_setting_is_refused_with_the_one_that_was_meant(command: CommandLine, tmp_path: Path) -> None:
    file = configured(tmp_path, queue={"max_sise": 5})
    result = command.run("start", "--config", str(file), "--json")
    assert result.status == 2
    assert result.json["code"] == "configuration"
    assert result.json["problems"][0]["suggestion"] == "did you mean 'queue.max_size'?"
    assert result.json["problems"][0]["where"] == f"{file}:2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "nowhere.yaml"), "nowhere.yaml: cannot be read: No such file"),
        (("--gguf", "nowhere.gguf"), "--gguf: there is no file nowhere.gguf"),
        (("--port", "70000"), "server.port: must be less than or equal to 65535"),
        (("--port", "many"), 'unable to convert "many" into int'),
        (("--prot", "1"), "Did you mean --port?"),
        (("--database-url", "mysql://host/name"), "database.url: must start with sqlite:///"),
    ],
)
def test_a_wrong_command_line_has_one_clear_message(
    command: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    result = command.run("start", *arguments)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert said in result.err


def test_a_database_that_is_away_is_no_mistake_of_the_operator(command: CommandLine) -> None:
    result = command.run("start", *ALONE, "--database-url", "postgresql://nobody@127.0.0.1:1/none", "--json")
    assert result.status == 1
    assert result.json["code"] == "storage_unavailable"


async def test_variables_of_the_client_commands_are_no_mistakes(tmp_path: Path) -> None:
    environ = environment(ORCHESTRATOR_URL="http://127.0.0.1:1", ORCHESTRATOR_API_KEY="x", ORCHESTRATOR_WRONG="1")
    async with started(*ALONE, "--json", cwd=tmp_path, environ=environ) as service:
        greeting = await service.greeting()
    assert [text for text in greeting["warnings"] if "ORCHESTRATOR_" in text] == [
        text for text in greeting["warnings"] if "ORCHESTRATOR_WRONG" in text
    ]
    assert json.dumps(greeting["warnings"]).count("ORCHESTRATOR_WRONG") == 1
