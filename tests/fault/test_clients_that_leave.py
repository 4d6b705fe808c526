"""A client that goes takes its work off the node within a second, whatever it was waiting for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_under_test import FORMS, OPENAI, PLANES, FleetUnderTest, Form, Wire, fleet, request

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)

FAREWELLS: dict[str, Callable[[Wire], None]] = {
    "close": lambda wire: wire.socket.close(),
    "reset": Wire.reset,
    "half-close": Wire.half_close,
}
farewells = pytest.mark.parametrize("leave", FAREWELLS.values(), ids=FAREWELLS.keys())


async def freed(tried: FleetUnderTest, name: str = "a") -> None:
    """The node was left alone within a second, and nobody was blamed."""
    node = tried.nodes[name]
    await node.wait_for(lambda seen: seen.disconnects == 1 and seen.in_flight == 0, timeout=1.0)
    await tried.settled(1.0)
    assert tried.last.outcome == "cancelled"
    assert tried.node(name).breaker.failure_total == 0
    assert all(pair.breaker.failure_total == 0 for pair in tried.node(name).pairs.values())
    assert sum(pair.traffic.cancelled for pair in tried.node(name).pairs.values()) == 1


@farewells
@every_plane
async def test_in_the_middle_of_a_stream(leave: Callable[[Wire], None], plane: str, tmp_path: Path) -> None:
    for form in FORMS:
        folder = tmp_path / form.name
        folder.mkdir()
        async with fleet(folder, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
            tried.nodes["a"].mode("hang_mid", after=2)
            await wire.send(request(form.path, form.body(stream=True)))
            await wire.until(b"echo")

            leave(wire)

            await freed(tried)


@farewells
@every_plane
@every_form
async def test_before_a_whole_answer(leave: Callable[[Wire], None], form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        tried.nodes["a"].mode("hang")
        await wire.send(request(form.path, form.body(stream=False)))
        await tried.nodes["a"].wait_for(lambda node: node.hanging == 1)

        leave(wire)

        await freed(tried)


@farewells
@every_plane
async def test_while_it_waits_in_the_queue(leave: Callable[[Wire], None], plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, max_concurrency=1) as tried:
        tried.nodes["a"].mode("hang", times=1)
        occupant = asyncio.create_task(tried.post(OPENAI))
        await tried.nodes["a"].wait_for(lambda node: node.hanging == 1)
        async with Wire(tried.address) as wire:
            await wire.send(request(OPENAI.path, OPENAI.body("mine", stream=False)))
            await tried.running.until(lambda: len(tried.gateway.queue) == 1)

            leave(wire)

            await tried.running.until(lambda: not len(tried.gateway.queue), 1.0)
            assert tried.last.outcome == "cancelled"
        tried.nodes["a"].release()
        assert (await occupant).status_code == 200
        await tried.settled()
        assert len(tried.inference("a")) == 1  # nobody asked the node for an answer that nobody wants


@every_plane
async def test_while_it_waits_for_another_try(plane: str, tmp_path: Path) -> None:
    config = {"retry": {"backoff_base": 5, "backoff_max": 5}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried, Wire(tried.address) as wire:
        tried.nodes["a"].mode("status", status=503, headers={"retry-after": "2"})
        await wire.send(request(OPENAI.path, OPENAI.body(stream=False)))
        await tried.nodes["a"].wait_for(lambda node: node.state()["by_status"].get("503", 0) == 1)

        wire.socket.close()

        await tried.settled(1.0)
        assert tried.last.outcome == "cancelled"


@every_plane
async def test_before_the_end_of_its_own_body(plane: str, tmp_path: Path) -> None:
    whole = request(OPENAI.path, OPENAI.body("x" * 300_000, stream=False))
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        async with Wire(tried.address) as wire:
            await wire.send(whole[: len(whole) // 2])
        async with Wire(tried.address) as wire:
            await wire.send(whole)
            assert (await wire.answer())[0] == 200
        await tried.settled()
        assert len(tried.inference("a")) == 1


@every_plane
async def test_its_connection_is_not_given_to_the_next_request(plane: str, tmp_path: Path) -> None:
    """What the node still writes for a client that has gone must never reach another one."""
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        tried.nodes["a"].mode("hang_mid", after=2, times=1)
        async with Wire(tried.address) as wire:
            await wire.send(request(OPENAI.path, OPENAI.body("secret of the first client", stream=True)))
            await wire.until(b"echo")
        await tried.settled(1.0)
        tried.nodes["a"].release()

        answers = await asyncio.gather(*(tried.post(OPENAI, text=f"second {turn}") for turn in range(8)))

        texts = sorted(OPENAI.text(json.loads(answer.content)) for answer in answers)
        assert texts == sorted(f"echo: second {turn}" for turn in range(8))


@every_plane
async def test_a_thousand_that_leave_at_every_moment(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane, max_concurrency=8) as tried:
        for node in tried.nodes.values():
            node.mode(tokens=5, tokens_per_second=1000.0, ttft_ms=2.0)
        data = request(OPENAI.path, OPENAI.body(stream=True))
        turns = iter(range(1000))

        async def client() -> None:
            for turn in turns:
                async with Wire(tried.address) as wire:
                    await wire.send(data[: len(data) - turn % 3])
                    if turn % 4:
                        await asyncio.sleep((turn % 50) / 5000)

        await asyncio.gather(*(client() for _ in range(24)))

        await tried.settled()
        for node in tried.nodes.values():
            await node.wait_for(lambda seen: seen.in_flight == 0)
        assert not any(breaker.failure_total for breaker in tried.running.service.fleet.breakers().values())
