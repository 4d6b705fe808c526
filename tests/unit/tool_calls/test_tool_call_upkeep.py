"""Calls and the deaths of processes, databases that are away, and old calls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tool_call_parts import ANN, CHIEF, World, until

from orchestrator.domain.errors import ShuttingDown
from orchestrator.domain.tool_call import INTERRUPTED, CallOutcome, CallQuery, CallState, Produced
from orchestrator.ports.artifacts import ArtifactQuery
from orchestrator.services.tool_calls.upkeep import CallUpkeep

HELLO = {"text": "hello"}
FILE = Produced("a.txt", "text/plain", b"a")


async def test_calls_of_a_process_that_is_gone_are_interrupted_and_what_they_left_is_deleted(
    world: World, tmp_path: Path
) -> None:
    tool = await world.tool()
    world.script.hold()
    running = await world.calls.call("echo", HELLO, ANN, wait=0)
    await world.results.keep(running, tool, CallOutcome(1, (FILE,)))
    assert len(await world.artifacts.page(ArtifactQuery())) == 1
    after = World(tmp_path, world.storage, "two")
    assert await after.upkeep.recover(()) == 1
    call = await after.calls.get(running.id, ANN)
    assert call.error is not None
    assert (call.state, call.error.code, call.attempts) == (CallState.FAILED, INTERRUPTED, 0)
    assert await world.artifacts.page(ArtifactQuery()) == ()
    assert await after.upkeep.recover(()) == 0


async def test_beside_others_only_the_calls_of_the_dead_are_interrupted(world: World, tmp_path: Path) -> None:
    await world.tool()
    other = World(tmp_path, world.storage, "two")
    for one in (world, other):
        one.script.hold()
    mine, others = [await one.calls.call("echo", HELLO, ANN, wait=0) for one in (world, other)]
    third = World(tmp_path, world.storage, "three")
    shared = CallUpkeep(third.store, third.conduct, third.clock, lambda: third.calls.rules, alone=False)
    assert await shared.recover(("two", "four")) == 1
    assert (await third.calls.get(mine.id, ANN)).state is CallState.RUNNING
    assert (await third.calls.get(others.id, ANN)).state is CallState.FAILED
    await other.conduct.look()  # it lived, and sees that it is not wanted any more
    await other.calls.ended(others.id, ANN)
    assert other.script.cancelled == 1
    await other.calls.stop()


async def test_a_call_that_runs_elsewhere_is_cancelled_there(world: World, tmp_path: Path) -> None:
    await world.tool()
    world.script.hold()
    running = await world.calls.call("echo", HELLO, ANN, wait=0)
    other = World(tmp_path, world.storage, "two")
    assert (await other.calls.ended(running.id, ANN, wait=0.01)).state is CallState.RUNNING
    waiting = asyncio.create_task(other.calls.ended(running.id, ANN))
    assert (await other.calls.cancel(running.id, ANN)).state is CallState.CANCELLED
    await world.conduct.look()
    assert (await world.calls.ended(running.id, ANN)).state is CallState.CANCELLED
    assert (await waiting).state is CallState.CANCELLED
    assert world.script.cancelled == 1
    assert world.conduct.running == 0


async def test_a_call_that_must_be_over_is_interrupted_by_any_process(world: World, tmp_path: Path) -> None:
    await world.tool()
    world.script.hold()
    running = await world.calls.call("echo", HELLO, ANN, wait=0)
    other = World(tmp_path, world.storage, "two")
    await other.upkeep.expire()
    assert (await other.calls.get(running.id, ANN)).state is CallState.RUNNING
    assert await world.store.save(replace(running, expires_at=1.0), running)
    await world.upkeep.expire()  # it runs here
    assert (await other.calls.get(running.id, ANN)).state is CallState.RUNNING
    await other.upkeep.expire()
    assert (await other.calls.get(running.id, ANN)).state is CallState.FAILED


async def test_what_runs_when_the_service_stops_is_interrupted(world: World) -> None:
    await world.tool()
    world.script.hold()
    callers = [asyncio.create_task(world.calls.call("echo", HELLO, ANN)) for _ in range(3)]
    await until(lambda: world.conduct.running == 3)
    await world.calls.stop()
    for call in await asyncio.gather(*callers):
        assert call.error is not None
        assert (call.state, call.error.code) == (CallState.FAILED, INTERRUPTED)
    with pytest.raises(ShuttingDown):
        await world.calls.call("echo", HELLO, ANN)


async def test_an_end_is_written_down_when_the_database_is_back(world: World) -> None:
    await world.tool()
    world.away.times = 1
    call = await world.calls.call("echo", HELLO, ANN)
    assert (call.state, world.away.times) == (CallState.SUCCEEDED, 0)


async def test_a_service_stops_while_the_database_is_away(world: World) -> None:
    await world.tool()
    world.away.times = 1_000
    caller = asyncio.create_task(world.calls.call("echo", HELLO, ANN))
    await until(lambda: world.away.times < 1_000)
    await asyncio.wait_for(world.calls.stop(), 5)
    assert (await caller).state is CallState.RUNNING  # the next start finds it so


async def test_old_calls_are_forgotten(world: World) -> None:
    await world.tool()
    old = await world.calls.call("echo", HELLO, ANN, idempotency_key="k")
    world.script.hold()
    running = await world.calls.call("echo", HELLO, ANN, wait=0)
    assert await world.upkeep.forget() == 0
    world.calls.rules = replace(world.calls.rules, keep=-1.0)
    assert await world.upkeep.forget() == 1
    assert [one.id for one in await world.calls.page(CallQuery(), 10, 0, CHIEF)] == [running.id]
    world.script.held = None
    assert (await world.calls.call("echo", HELLO, ANN, idempotency_key="k")).id != old.id
