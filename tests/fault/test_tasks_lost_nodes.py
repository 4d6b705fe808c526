"""Nodes are killed and stopped, under load: what they worked on runs elsewhere, and their late word is refused."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from node_process import NodeProcess, node_process
from orchestrator.testing.task_history import Reported
from raw_client import RawClient
from service import merged, spawned_service
from task_load import CONFIG, Load, Place, until
from worker_stubs import API, Worker, pull_worker, push_worker

# A node that was silent for a second is given up.
QUICK = merged(CONFIG, {"tasks": {"node_timeout": 1.0, "heartbeat_interval": 0.2}})
BEAT = 0.2
PAUSE = 0.04  # seconds between a client's tasks: the load outlasts what happens to the node


@asynccontextmanager
async def _running(
    mode: str, database_url: str, tmp_path: Path, load: Load, place: Place
) -> AsyncIterator[tuple[str, NodeProcess, list[Worker]]]:
    """A service, two nodes that stay, and one in a process of its own."""
    async with AsyncExitStack() as stack:
        arguments = ("--database-url", database_url)
        service = stack.enter_context(spawned_service(QUICK, tmp_path, arguments=arguments))
        place.urls = [service.url]
        workers: list[Worker] = [
            await stack.enter_async_context(push_worker("stays", place, seconds=0.02, listener=load.note)),
            await stack.enter_async_context(pull_worker("asks", place, seconds=0.02, listener=load.note)),
        ]
        for worker in workers:
            worker.spawn(worker.beat(BEAT))
        node = await stack.enter_async_context(node_process(mode, "node", service.url, 0.1, load.note))
        yield service.url, node, workers


@pytest.mark.parametrize("mode", ["push", "pull"])
async def test_a_node_is_killed(mode: str, sqlite_url: str, tmp_path: Path) -> None:
    place = Place()
    load = Load(place, pause=PAUSE)
    async with _running(mode, sqlite_url, tmp_path, load, place) as (url, node, workers), load.clients() as clients:
        await until(load.part(0.3, workers))
        await until(lambda: load.open("node"))
        load.fault("node")
        node.signal(signal.SIGKILL)
        await load.finish(url, clients, workers, 60)
    await load.check(sqlite_url)


@pytest.mark.parametrize("mode", ["push", "pull"])
async def test_a_node_is_stopped_for_longer_than_it_may_be_silent(mode: str, sqlite_url: str, tmp_path: Path) -> None:
    place = Place()
    load = Load(place, pause=PAUSE)
    async with _running(mode, sqlite_url, tmp_path, load, place) as (url, node, workers), load.clients() as clients:
        await until(load.part(0.3, workers))
        seen = load.open("node")
        await until(lambda: load.open("node") - seen)  # it has just begun: it cannot have said anything of that one
        node.signal(signal.SIGSTOP)
        load.fault("node")
        await asyncio.sleep(BEAT)  # what it had said and printed before is heard
        given = load.open("node")
        assert given, "it was not at work"
        await _offline(url, "node")
        node.signal(signal.SIGCONT)
        await until(lambda: given <= {(one.task, one.attempt) for one in _reports(load)})
        refused = {(one.task, one.attempt) for one in _reports(load) if not one.counts}
        assert given & refused, "all that it worked on was recorded before"
        await load.finish(url, clients, workers, 60)
    await load.check(sqlite_url)


def _reports(load: Load) -> list[Reported]:
    return [one for one in load.events if isinstance(one, Reported) and one.node == "node"]


async def _offline(url: str, node: str) -> None:
    client = RawClient()
    try:
        async with asyncio.timeout(20):
            while (await client.get(f"{url}{API}/nodes")).json()["nodes"][node]["status"] != "offline":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await client.close()
