"""The load of a model goes on when the client whose request began it has less patience than the load takes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import FORMS, OLLAMA, PLANES, FleetUnderTest, Form, Wire, fleet, request
from orchestrator.testing.model_server import ModelServer

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
OLLAMA_NODE = {"a": "ollama"}
# Long enough for everything that happens meanwhile, short enough to wait for.
LOAD_MS = 700.0


async def leave_during_the_load(tried: FleetUnderTest, form: Form, *, stream: bool) -> None:
    async with Wire(tried.address) as wire:
        await wire.send(request(form.path, form.body(stream=stream)))
        await tried.running.until(lambda: len(tried.inference("a")) == 1)
    await tried.running.until(lambda: not tried.gateway.active, 1.0)
    assert tried.last.outcome == "cancelled"


@pytest.mark.parametrize("stream", [True, False])
@every_plane
@every_form
async def test_the_next_client_finds_the_model_loaded(form: Form, plane: str, stream: bool, tmp_path: Path) -> None:
    slow = {"a": ModelServer(load_delay_ms=LOAD_MS)}
    async with fleet(tmp_path, slow, plane=plane, kinds=OLLAMA_NODE) as tried:
        await leave_during_the_load(tried, form, stream=stream)

        assert tried.in_flight == 1  # the node is at work: its slot is taken
        await tried.settled()
        assert tried.nodes["a"].loaded == ["demo:latest"]
        assert not tried.gateway.left_loads
        assert tried.node("a").state.load_cost["demo:latest"] >= LOAD_MS / 1000 * 0.9
        assert tried.breaker("a").failure_total == 0
        answer = await tried.post(OLLAMA)
        assert answer.status_code == 200


@every_plane
async def test_a_model_in_memory_is_left_at_once(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, kinds=OLLAMA_NODE) as tried:
        assert (await tried.post(OLLAMA)).status_code == 200
        tried.nodes["a"].mode("hang")
        async with Wire(tried.address) as wire:
            await wire.send(request(OLLAMA.path, OLLAMA.body(stream=True)))
            await tried.nodes["a"].wait_for(lambda node: node.hanging == 1)

        await tried.nodes["a"].wait_for(lambda node: node.in_flight == 0, timeout=1.0)
        await tried.settled(1.0)


@every_plane
async def test_not_when_the_operator_does_not_want_it(plane: str, tmp_path: Path) -> None:
    config: dict[str, Any] = {"models": {"keep_loading": False}}
    slow = {"a": ModelServer(load_delay_ms=60_000.0)}
    async with fleet(tmp_path, slow, plane=plane, kinds=OLLAMA_NODE, config=config) as tried:
        await leave_during_the_load(tried, OLLAMA, stream=True)

        await tried.nodes["a"].wait_for(lambda node: node.in_flight == 0, timeout=1.0)
        await tried.settled(1.0)


async def test_a_load_that_fails_frees_its_slot(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], kinds=OLLAMA_NODE) as tried:
        node = tried.nodes["a"]
        node.mode("hang")
        await leave_during_the_load(tried, OLLAMA, stream=False)
        assert tried.in_flight == 1

        await node.kill()

        await tried.settled()
        assert not tried.gateway.left_loads


async def test_a_shutdown_does_not_wait_for_it(tmp_path: Path) -> None:
    async with asyncio.timeout(15), fleet(tmp_path, ["a"], kinds=OLLAMA_NODE) as tried:
        tried.nodes["a"].mode("hang")
        await leave_during_the_load(tried, OLLAMA, stream=False)
        tried.running.service.stop()
        async with asyncio.timeout(5):
            await asyncio.wait([tried.running.task])
        assert tried.in_flight == 0
