"""The commands that talk to a running service: the fleet, its queue, breakers, bans, keys and settings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine, environment, spawn, terminal

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

ADMIN = "test-administrator-key"
VIEWER = "test-viewer-key-000000"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def fleet(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[RunningService, ModelServer]]:
    """A service with one healthy node `a`."""
    async with ModelServer(["llama3", "org/other:7b"]) as server:
        config = {"nodes": [{"id": "a", "url": server.url, "max_concurrency": 4}], **settings}
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            yield running, server


async def test_nodes_from_adding_to_removing(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _), ModelServer(["qwen"], dialects=["openai"]) as other:
        run = command.at(running.url)
        added = await run(
            "nodes", "add", "b", other.url, "--label", "zone=x", "--weight", "2", "--max-concurrency", "8"
        )
        assert (added.status, added.out) == (0, "")
        assert f"Added b (openai) at {other.url}." in added.err
        await running.healthy(2)

        rows = {row["id"]: row for row in (await run("nodes", "list")).rows}
        assert rows["b"]["kind"] == "openai"
        assert rows["b"]["state"] == "healthy"
        assert rows["b"]["in flight"] == "0/8"
        listed = (await run("nodes", "list", "--json")).json
        assert [server["id"] for server in listed["servers"]] == ["a", "b"]

        await run("nodes", "set", "b", "--max-concurrency", "3", "--api-key-env", "SOME_KEY")
        shown = (await run("nodes", "get", "b", "--json")).json["server"]
        assert (shown["maxConcurrency"], shown["labels"], shown["weight"]) == (3, {"zone": "x"}, 2)
        assert running.service.fleet.nodes["b"].spec.api_key == "env:SOME_KEY"

        await run("nodes", "drain", "b", "--reason", "new fan")
        drained = (await run("nodes", "get", "b")).out
        assert "state\tdraining" in drained
        assert "reason\tnew fan" in drained
        await run("nodes", "maintenance", "b", "--reason", "dust")
        assert "state\tmaintenance" in (await run("nodes", "get", "b")).out
        await run("nodes", "maintenance", "b", "--off")
        assert "state\thealthy" in (await run("nodes", "get", "b")).out

        unsure = await run("nodes", "remove", "b")
        assert unsure.status == 2
        assert "--yes" in unsure.err
        assert (await run("nodes", "remove", "b", "--yes")).status == 0
        assert set(running.service.fleet.nodes) == {"a"}


async def test_nodes_that_do_not_exist(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, server):
        run = command.at(running.url)
        for words in (("get", "x"), ("drain", "x"), ("undrain", "x"), ("probe", "x"), ("remove", "x", "--yes")):
            result = await run("nodes", *words)
            assert result.status == 1
            assert "Server 'x' not found" in result.err
        twice = await run("nodes", "add", "a", server.url, "--json")
        assert twice.status == 1
        assert twice.json["status"] == 409
        assert twice.json["code"] == "conflict"
        assert (await run("nodes", "set", "a")).status == 2
        assert "NAME=VALUE" in (await run("nodes", "set", "a", "--label", "zone")).err


async def test_a_probe_that_finds_a_node_down_fails(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path, health_check={"failure_threshold": 1}) as (running, server):
        run = command.at(running.url)
        assert (await run("nodes", "probe", "a")).rows[0]["state"] == "healthy"
        await server.kill()
        probed = await run("nodes", "probe")
        assert probed.status == 1
        assert probed.rows[0]["state"] == "unhealthy"


async def test_models_and_their_other_names(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        run = command.at(running.url)
        assert {row["model"]: row["nodes"] for row in (await run("models", "list")).rows} == {
            "llama3:latest": "a",
            "org/other:7b": "a",
        }
        assert (await run("models", "get", "llama3", "--json")).json["details"][0]["servers"] == ["a"]
        missing = await run("models", "get", "lama3:latest")
        assert missing.status == 1
        assert "Did you mean llama3:latest?" in missing.err

        await run("models", "aliases", "set", "team/best", "org/other:7b", "llama3")
        (alias,) = (await run("models", "aliases", "list")).rows
        assert alias == {
            "alias": "team/best",
            "targets": "org/other:7b, llama3",
            "leads to": "org/other:7b, llama3:latest",
            "set by": "api",
        }
        assert "aliases\tteam/best" in (await run("models", "get", "team/best")).out
        await run("models", "aliases", "remove", "team/best")
        assert "There are no aliases." in (await run("models", "aliases", "list")).err
        assert (await run("models", "aliases", "remove", "team/best")).status == 1


async def test_the_queue_is_shown_paused_and_resumed(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, server), httpx2.AsyncClient(base_url=running.url) as client:
        run = command.at(running.url)
        await run("nodes", "set", "a", "--max-concurrency", "1")
        server.mode("hang")
        asked = [
            asyncio.create_task(client.post("/api/generate", json={"model": "llama3", "prompt": "x"})) for _ in range(2)
        ]
        await running.until(lambda: len(running.service.gateway.queue) == 1)
        summary, _, waiting = (await run("queue", "show")).out.partition("\n\n")
        assert "waiting\t1 of 1000" in summary
        assert "in flight\t1" in summary
        assert waiting.splitlines()[1].split("\t")[:2] == ["1", "llama3:latest"]
        assert len((await run("queue", "show", "--json")).json["queue"]["items"]) == 1

        assert "paused" in (await run("queue", "pause")).err.lower()
        assert "waiting\t1 of 1000, paused" in (await run("queue", "show")).out
        refused = await run("chat", "llama3", "hello")
        assert refused.status == 1
        assert "paused" in refused.err
        assert (await run("queue", "resume", "--json")).json == {"success": True, "paused": False}
        server.mode("ok")
        server.release()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_breakers_are_forced_and_reset(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        run = command.at(running.url)
        await run("breakers", "open", "a", "org/other:7b", "--for", "10m")
        await run("breakers", "open", "a")
        assert (await run("chat", "llama3", "hello")).status == 1
        rows = {row["model"]: row for row in (await run("breakers", "list", "--tripped")).rows}
        assert rows["-"]["state"] == "open"
        assert rows["-"]["reopens in"] == "-"
        assert rows["org/other:7b"]["reopens in"] == "10 min"
        assert rows["org/other:7b"]["reason"] == "forced by an operator"

        await run("breakers", "half-open", "a")
        states = {
            one["model"]: one["state"] for one in (await run("breakers", "list", "--json")).json["circuitBreakers"]
        }
        assert states == {"": "HALF-OPEN", "org/other:7b": "OPEN"}
        await run("breakers", "close", "a")
        await run("breakers", "reset", "a", "org/other:7b")
        assert "There are none." in (await run("breakers", "list", "--tripped")).err
        await run("breakers", "open", "a", "llama3")
        await run("breakers", "reset", "a")
        assert (await run("chat", "llama3", "hello")).status == 0
        assert (await run("breakers", "open", "a", "nothing")).status == 1


async def test_bans_are_added_and_lifted(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        run = command.at(running.url)
        assert (await run("bans", "add")).status == 2
        await run("bans", "add", "--node", "a", "--model", "llama3", "--for", "1h", "--reason", "wrong answers")
        await run("bans", "add", "--model", "org/other:7b")
        rows = {row["model"]: row for row in (await run("bans", "list")).rows}
        assert rows["llama3:latest"]["reason"] == "wrong answers"
        assert rows["llama3:latest"]["type"] == "temporary"
        assert rows["org/other:7b"]["node"] == "all nodes"
        assert (await run("chat", "llama3", "hello")).status == 1
        assert "1 lifted." in (await run("bans", "remove", "--node", "a", "--model", "llama3")).err
        assert (await run("chat", "llama3", "hello")).status == 0
        assert (await run("bans", "remove", "--all")).status == 2
        assert (await run("bans", "remove", "--all", "--yes", "--json")).json["removed"] == 1
        assert (await run("bans", "remove")).status == 2


async def test_settings_change_live(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        run = command.at(running.url)
        changed = await run("config", "set", "queue.max_size=5", "gateway.policy=random", "queue.timeout=90s")
        assert "queue.max_size: 1000 -> 5" in changed.err
        assert running.service.gateway.placement.policy == "random"
        live = await run("config", "show", "queue", "--live", "--origin")
        rows = {row["key"]: row for row in live.rows}
        assert (rows["queue.max_size"]["value"], rows["queue.max_size"]["origin"]) == ("5", "database")
        assert rows["queue.timeout"]["value"] == "90.0"
        assert rows["queue.max_priority"]["origin"] == "default"

        stuck = await run("config", "set", "server.port=1")
        assert stuck.status == 1
        assert "needs a restart" in stuck.err
        wrong = await run("config", "set", "queue.max_sise=1")
        assert wrong.status == 1
        assert "did you mean 'queue.max_size'?" in wrong.err
        assert (await run("config", "set", "queue.max_size")).status == 2


async def test_keys_open_what_their_roles_grant(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [{"name": "root", "key": ADMIN, "role": "admin"}, {"name": "eyes", "key": VIEWER, "role": "viewer"}]
    async with fleet(tmp_path, auth={"enabled": True, "keys": keys}) as (running, _):
        run = command.at(running.url)
        monkeypatch.delenv("ORCHESTRATOR_API_KEY", raising=False)
        nobody = await run("nodes", "list")
        assert nobody.status == 1
        assert "--api-key-file FILE, or $ORCHESTRATOR_API_KEY" in nobody.err

        monkeypatch.setenv("ORCHESTRATOR_API_KEY", VIEWER)
        assert (await run("nodes", "list")).status == 0
        denied = await run("nodes", "drain", "a")
        assert denied.status == 1
        assert "permission 'fleet.write'" in denied.err
        assert (await run("nodes", "drain", "a", "--json")).json["status"] == 403

        file = tmp_path / "admin.key"
        file.write_text(f"{ADMIN}\n")
        trusted = ("--api-key-file", str(file))
        made = await run("keys", "create", "laptop", "--role", "operator", "--expires-in", "30d", *trusted)
        text = made.out.strip()
        assert text.startswith("orc_")
        assert text not in made.err
        listed = await run("keys", "list", *trusted)
        assert text not in listed.out
        row = next(row for row in listed.rows if row["name"] == "laptop")
        assert (row["role"], row["status"]) == ("operator", "active")

        monkeypatch.setenv("ORCHESTRATOR_API_KEY", text)
        assert (await run("nodes", "drain", "a")).status == 0
        assert (await run("keys", "revoke", row["id"], *trusted)).status == 2
        assert (await run("keys", "revoke", row["id"], "--yes", *trusted)).status == 0
        assert (await run("nodes", "undrain", "a")).status == 1


async def test_status_shows_the_service(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        run = command.at(running.url)
        plain = await run("status")
        assert "nodes\t1 of 1 healthy" in plain.out
        assert "\na\tollama\thealthy\t0/4\t2\t" in plain.out
        data = (await run("status", "--json")).json
        assert data["url"] == running.url
        assert data["servers"][0]["id"] == "a"
        await run("nodes", "remove", "a", "--yes")
        assert "There are no nodes." in (await run("status")).err


async def test_a_real_process_takes_its_address_from_the_environment(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        result = await spawn("nodes", "list", "--json", environ=environment(ORCHESTRATOR_URL=running.url))
    assert result.status == 0
    assert result.err == ""
    assert json.loads(result.out)["count"] == 1


async def test_watching_shows_changes_and_ends_well(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        arguments = ("status", "--watch", "--interval", "100ms", "--url", running.url)
        async with terminal(*arguments) as screen:
            await screen.until("healthy")
            await running.service.registry.unregister("a")
            await screen.until("There are no nodes.")
            screen.interrupt()
            assert await screen.end() == 0


async def test_a_person_is_asked_before_something_is_lost(tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, _):
        for answer, status, left in (("n", 1, {"a"}), ("y", 0, set())):
            async with terminal("nodes", "remove", "a", "--url", running.url) as screen:
                await screen.until("[y/N]")
                screen.type(f"{answer}\n")
                assert await screen.end() == status
            assert set(running.service.fleet.nodes) == left


async def test_names_that_others_chose_do_not_move_the_cursor(command: CommandLine, tmp_path: Path) -> None:
    async with fleet(tmp_path) as (running, server):
        server.set_models(["evil\x1b[2Jmodel"])
        await running.until(lambda: any("evil" in name for name in running.service.fleet.catalogue.by_model()))
        listed = await command.at(running.url)("models", "list")
        assert "evil" in listed.out
        assert "\x1b" not in listed.out
