"""`orchestrator import`: what it writes starts a service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest
import yaml
from cli_command import CommandLine

from orchestrator.bootstrap import Service, serve
from orchestrator.settings import load
from orchestrator.testing.model_server import ModelServer
from service import running_service


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


async def test_a_litellm_proxys_clients_are_served(tmp_path: Path, command: CommandLine) -> None:
    async with ModelServer(["llama3.1"]) as server:
        theirs = {
            "model_list": [
                {"model_name": "chat", "litellm_params": {"model": "ollama_chat/llama3.1", "api_base": server.url}}
            ],
            "router_settings": {"model_group_alias": {"gpt-4": "llama3.1"}, "num_retries": 1},
            "general_settings": {"master_key": "sk-1234-sk-1234-sk-1234"},
        }
        file, out = tmp_path / "config.yaml", tmp_path / "ours.yaml"
        file.write_text(yaml.safe_dump(theirs))
        made = await command("import", "litellm", str(file), "--out", str(out))
        assert made.status == 0, made.err
        assert {"mapped"} == {row["what"] for row in made.rows}
        assert (out.stat().st_mode & 0o777, "sk-1234" in made.out + made.err) == (0o600, False)
        assert (await command("config", "validate", str(out))).status == 0
        async with running_service(yaml.safe_load(out.read_text()), tmp_path) as running:
            await running.healthy(1)
            headers = {"Authorization": "Bearer sk-1234-sk-1234-sk-1234"}
            async with httpx2.AsyncClient(base_url=running.url, headers=headers, timeout=20) as client:
                for model in ("chat", "gpt-4", "llama3.1"):
                    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
                    answer = await client.post("/v1/chat/completions", json=body)
                    assert answer.status_code == 200, answer.text


async def test_a_predecessors_servers_are_taken_over(tmp_path: Path, command: CommandLine) -> None:
    file = tmp_path / "servers.json"
    file.write_text(
        json.dumps([{"id": "gpu1", "url": "http://10.0.0.1:11434", "maxConcurrency": 4, "apiKey": "env:K"}])
    )
    made = await command("import", "ollama-orchestrator", str(file), "--json")
    assert made.status == 0, made.err
    nodes = [{"id": "gpu1", "url": "http://10.0.0.1:11434", "kind": "ollama", "max_concurrency": 4, "api_key": "env:K"}]
    assert made.json["config"] == {"nodes": nodes}
    assert made.json["report"][0]["outcome"] == "mapped"
    plain = await command("import", "ollama-orchestrator", str(file))
    assert yaml.safe_load(plain.out) == {"nodes": nodes}
    assert "1 mapped" in plain.err


async def test_files_are_not_overwritten_by_chance(tmp_path: Path, command: CommandLine) -> None:
    file, out = tmp_path / "config.json", tmp_path / "orchestrator.yaml"
    file.write_text('{"port": 5100}')
    out.write_text("mine")
    refused = await command("import", "ollama-orchestrator", str(file), "--out", str(out))
    assert (refused.status, out.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert (await command("import", "ollama-orchestrator", str(file), "--out", str(out), "--force")).status == 0
    assert yaml.safe_load(out.read_text()) == {"server": {"port": 5100}}


@pytest.mark.parametrize("text", ["a: [", "- 1", "5", "\x00"])
async def test_what_is_no_configuration_is_refused(tmp_path: Path, command: CommandLine, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert (await command("import", "litellm", str(file))).status == 2
    assert (await command("import", "litellm", str(tmp_path / "none.yaml"))).status == 2


async def test_a_predecessors_file_starts_a_service_and_is_saved_as_ours(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        file = tmp_path / "legacy.yaml"
        theirs = {
            "server": {"port": 0, "host": "127.0.0.1"},
            "queue": {"maxSize": 77, "timeout": 30000},
            "servers": [{"id": "gpu1", "url": server.url, "maxConcurrency": 2}],
        }
        file.write_text(yaml.safe_dump(theirs))
        environ = {"ORCHESTRATOR_CONFIG_FILE": str(file), "ORCHESTRATOR_DATA_DIR": str(tmp_path / "data")}
        loaded = load(None, {**environ, "ORCHESTRATOR_DISCOVERY__ENABLED": "false"})
        started: asyncio.Future[tuple[Service, int]] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(loaded, lambda service, port: started.set_result((service, port))))
        service, port = await started
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            async with asyncio.timeout(10):
                while not service.fleet.nodes["gpu1"].healthy:  # noqa: ASYNC110 - no event to wait for
                    await asyncio.sleep(0.01)
            answer = await client.post("/api/generate", json={"model": "llama3", "prompt": "hi", "stream": False})
            assert answer.status_code == 200, answer.text
            shown = (await client.get("/api/orchestrator/config")).json()["config"]
            assert (shown["queue"]["maxSize"], shown["queue"]["timeout"]) == (77, 30000)
            await client.patch("/api/orchestrator/config/queue", json={"maxSize": 78})
            assert (await client.post("/api/orchestrator/config/save")).status_code == 200
        service.stop()
        await task
    again = load(file, {})
    assert (again.settings.queue.max_size, again.settings.queue.timeout) == (78, 30.0)
    assert [node.id for node in again.settings.nodes] == ["gpu1"]
    assert again.warnings == []
