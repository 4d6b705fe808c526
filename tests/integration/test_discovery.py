"""Discovery: what it takes in, under which name, and what it leaves alone."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from orchestrator.domain.node import AdminState, NodeSource
from orchestrator.testing.model_server import ModelServer
from service import free_port, running_service


def looking(*candidates: tuple[str, str], **options: Any) -> dict[str, Any]:
    found = [{"url": url, "kind": kind} for url, kind in candidates]
    return {"discovery": {"enabled": True, "interval": 0, "candidates": found, **options}}


async def test_local_servers_are_in_the_fleet_when_the_service_listens(tmp_path: Path) -> None:
    async with ModelServer(["llama3:8b"]) as one, ModelServer(["qwen3"], dialects=["openai"]) as two:
        config = looking((one.url, "ollama"), (two.url, "openai"), (f"http://127.0.0.1:{free_port()}", "ollama"))
        async with running_service(config, tmp_path) as running:
            nodes = running.service.fleet.nodes
            assert {node.id: node.spec.url for node in nodes.values()} == {"ollama": one.url, "openai": two.url}
            assert all(node.healthy and node.spec.source is NodeSource.DISCOVERY for node in nodes.values())
            assert running.service.fleet.catalogue.names() == ["llama3:8b", "qwen3"]


async def test_a_second_server_of_a_kind_gets_a_number(tmp_path: Path) -> None:
    async with (
        ModelServer() as one,
        ModelServer() as two,
        running_service(looking((one.url, "ollama"), (two.url, "ollama")), tmp_path) as running,
    ):
        assert set(running.service.fleet.nodes) == {"ollama", "ollama-2"}


async def test_a_registered_server_is_not_found_again(tmp_path: Path) -> None:
    async with ModelServer() as server:
        config = looking((server.url.replace("127.0.0.1", "localhost"), "ollama"))
        config["nodes"] = [{"id": "mine", "url": server.url}]
        async with running_service(config, tmp_path) as running:
            assert set(running.service.fleet.nodes) == {"mine"}


async def test_a_server_that_comes_later_is_found_and_one_that_goes_stays(tmp_path: Path) -> None:
    port = free_port()
    config = looking((f"http://127.0.0.1:{port}", "ollama"), interval=0.05)
    async with running_service(config, tmp_path) as running:
        assert running.service.fleet.nodes == {}
        async with ModelServer(port=port):
            await running.healthy(1)
        node = running.service.fleet.nodes["ollama"]
        await running.until(lambda: not node.healthy)
        assert set(running.service.fleet.nodes) == {"ollama"}


async def test_neither_this_service_nor_another_gateway_becomes_a_node(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    port = free_port()
    own = {"server": {"listeners": [{"port": port}]}}
    async with ModelServer() as server:
        config = {"nodes": [{"id": "mine", "url": server.url}]}
        async with running_service(config, tmp_path / "a") as other:
            places = looking((f"http://localhost:{port}", "ollama"), (other.url, "ollama"), interval=0.05)
            async with running_service({**config, **places, **own}, tmp_path / "b") as running:
                seen = len(server.requests)
                await server.wait_for(lambda one: len(one.requests) > seen + 4)
                assert set(running.service.fleet.nodes) == {"mine"}


async def test_what_an_operator_removed_stays_away(tmp_path: Path) -> None:
    async with ModelServer() as server:
        async with running_service(looking((server.url, "ollama")), tmp_path) as running:
            await running.service.registry.unregister("ollama")
        async with running_service(looking((server.url, "ollama")), tmp_path) as running:
            assert running.service.fleet.nodes == {}


async def test_a_drained_server_is_still_drained_after_a_restart(tmp_path: Path) -> None:
    async with ModelServer() as server:
        async with running_service(looking((server.url, "ollama")), tmp_path) as running:
            await running.service.registry.set_state("ollama", AdminState.MAINTENANCE, "dust")
        async with running_service(looking((server.url, "ollama")), tmp_path) as running:
            spec = running.service.fleet.nodes["ollama"].spec
            assert (spec.admin_state, spec.admin_reason) == (AdminState.MAINTENANCE, "dust")


async def test_a_place_that_accepts_and_says_nothing_hides_no_other(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with ModelServer() as server:
            begun = time.monotonic()
            config = looking((url, "ollama"), (server.url, "ollama"), timeout=30)
            async with running_service(config, tmp_path) as running:
                assert time.monotonic() - begun < 5
                assert running.service.fleet.nodes["ollama"].spec.url == server.url
