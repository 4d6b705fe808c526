"""Events outlive the process, and every replica tells those of all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import COMMAND, WAIT, CommandLine, spawn
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service import RunningService, free_port, running_service, spawned_service

V1 = "/api/v1"
ALL = {"Last-Event-ID": "0"}


async def frames(url: str, headers: dict[str, str] | None = None, **query: str) -> AsyncIterator[dict[str, Any]]:
    """Events of a stream, with the `id` and `event` of their frames, until the connection ends."""
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
        client.stream("GET", f"{V1}/events", headers=headers, params=query) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        frame: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                frame |= json.loads(value)
            elif name in ("id", "event"):
                frame[name] = value
            elif not line and frame:
                yield frame
                frame = {}


async def first(count: int, url: str, headers: dict[str, str] | None = None, **query: str) -> list[dict[str, Any]]:
    found = []
    async for frame in frames(url, headers, **query):
        found.append(frame)
        if len(found) == count:
            break
    assert len(found) == count, found
    return found


async def registered(url: str, *nodes: str, **body: Any) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
        for node in nodes:
            answer = await client.post(f"{V1}/nodes/{node}/register", json={"host": "127.0.0.1", **body})
            assert answer.status_code == 200, answer.text


def nodes(events: list[dict[str, Any]]) -> list[str]:
    return [one["data"]["node_id"] for one in events]


@asynccontextmanager
async def replicas(url: str, tmp_path: Path) -> AsyncIterator[tuple[RunningService, RunningService]]:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    config = {"database": {"url": url}}
    async with running_service(config, folders[0]) as one, running_service(config, folders[1]) as other:
        yield one, other


async def test_events_are_there_after_a_restart(database_url: str, tmp_path: Path) -> None:
    config = {"database": {"url": database_url}}
    async with running_service(config, tmp_path) as running:
        await registered(running.url, "a", "b", "c")
        before = await first(3, running.url, ALL)
    async with running_service(config, tmp_path) as running:
        await registered(running.url, "d")
        again = await first(4, running.url, ALL)
        rest = await first(2, running.url, {"Last-Event-ID": before[1]["id"]})
        unknown = await first(1, running.url, {"Last-Event-ID": "18f-12"})
    assert nodes(again) == ["a", "b", "c", "d"]
    assert again[:3] == before
    assert rest == again[2:]
    assert unknown[0]["event"] == "missed"
    numbers = [one["sequence"] for one in again]
    assert numbers == sorted(set(numbers))


async def test_after_a_crash_followers_hear_that_events_may_be_missing(database_url: str, tmp_path: Path) -> None:
    arguments = ("--database-url", database_url)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        await registered(service.url, "a")
        [seen] = await first(1, service.url, ALL)
        service.kill()
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        await registered(service.url, "b")
        found = await first(2, service.url, {"Last-Event-ID": seen["id"]})
    assert {one["event"] for one in found} == {"missed", "node_registered"}
    [missed] = [one for one in found if one["event"] == "missed"]
    assert "without warning" in missed["reason"]


async def test_a_replica_tells_the_events_of_the_other(postgres_url: str, tmp_path: Path) -> None:
    async with replicas(postgres_url, tmp_path) as (one, other):
        following = [asyncio.create_task(first(3, where.url, task="mine")) for where in (one, other)]
        for where in (one, other):
            await where.until(lambda where=where: where.service.bulletin.followers["stream"] == 1)
        async with httpx2.AsyncClient(base_url=one.url + V1, timeout=20) as client:
            await registered(one.url, "n", mode="pull")
            for task_id in ("mine", "other"):
                await client.post("/tasks", json={"task_type": "t", "task_id": task_id})
            tasks: list[dict[str, Any]] = []
            while len(tasks) < 2:
                tasks += (await client.post("/nodes/n/tasks/pull", json={"wait": 10, "limit": 2})).json()["tasks"]
            attempts = {task["task_id"]: task["attempt"] for task in tasks}
            report = {"status": "completed", "attempt": attempts["mine"], "node_id": "n"}
            # By the other replica, whose task it is not.
            answer = await client.post(f"{other.url}{V1}/tasks/mine/result", json=report)
            assert answer.status_code == 200, answer.text
        here, there = await asyncio.gather(*following)
    assert [event["event"] for event in here] == ["task_submitted", "task_assigned", "task_completed"]
    assert here == there


async def test_a_node_is_told_of_once_by_all_replicas(postgres_url: str, tmp_path: Path) -> None:
    async with replicas(postgres_url, tmp_path) as (one, other):
        await registered(one.url, "n")
        await other.until(lambda: "n" in other.service.workers.all())
        await registered(other.url, "last")
        found = await first(2, one.url, ALL)
    assert nodes(found) == ["n", "last"]


async def test_a_stream_begins_at_a_moment(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as running:
        await registered(running.url, "old")
        [old] = await first(1, running.url, ALL)
        await registered(running.url, "new")
        [_, new] = await first(2, running.url, ALL)
        for since in (new["timestamp"], str(running.service.started_at + 1e-3)):
            [found, *_] = await first(1, running.url, since=since)
            assert found == (new if since == new["timestamp"] else old)
        async with httpx2.AsyncClient(base_url=running.url + V1) as client:
            for wrong in ("yesterday", "1e999", "2026-13-01", "\0"):
                assert (await client.get("/events", params={"since": wrong})).status_code == 400


async def test_what_is_no_longer_kept_is_said_to_be_missing(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as running:
        for node in ("a", "b", "c"):
            await registered(running.url, node)
            [*_, seen] = await first("abc".index(node) + 1, running.url, ALL)
            if node == "a":
                place = seen["id"]
    async with running_service({"tasks": {"keep_events": 0.001}}, tmp_path) as running:
        assert await running.service.task_parts.event_retention.sweep(asyncio.sleep) == 3
        await registered(running.url, "d")
        found = await first(2, running.url, {"Last-Event-ID": place})
        whole = await first(1, running.url, ALL)
    assert [one["event"] for one in found] == ["missed", "node_registered"]
    assert nodes(whole) == ["d"]


async def test_the_own_port_of_the_websocket(tmp_path: Path) -> None:
    key = "key-of-a-viewer-0123456789"
    auth = {"enabled": True, "keys": [{"name": "v", "key": key, "role": "viewer"}]}
    port = free_port()
    where = f"ws://127.0.0.1:{port}"
    headers = {"X-API-Key": key}
    async with running_service({"tasks": {"websocket_port": port}, "auth": auth}, tmp_path) as running:
        for path in ("/", "/ws/anything"):
            async with connect(where + path, additional_headers=headers) as websocket:
                assert json.loads(await websocket.recv())["type"] == "initial_status"
        refused = []
        for wrong in ({}, {**headers, "Origin": "https://evil.example"}, {**headers, "Host": "evil.example"}):
            with pytest.raises(InvalidStatus) as error:
                await connect(where, additional_headers=wrong)
            refused.append(error.value.response.status_code)
        async with httpx2.AsyncClient(base_url=running.url + V1, headers=headers) as client:
            info = (await client.get("/websocket/info")).json()["websocket"]
        async with connect(info["url"], additional_headers=headers) as websocket:
            await websocket.recv()
    assert refused[:2] == [401, 403]
    assert 400 <= refused[2] < 500
    with pytest.raises(OSError):
        await connect(where, additional_headers=headers)


async def test_the_command_line_follows_across_a_restart(tmp_path: Path) -> None:
    port = free_port()
    config = {"server": {"listeners": [{"port": port}]}}  # one that stays the same
    url = f"http://127.0.0.1:{port}"
    with spawned_service(config, tmp_path) as service:
        await registered(service.url, "early")
        arguments = ("events", "tail", "--type", "node_registered", "--since", "1h", "--json", "--url", url)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None

        async def heard() -> str:
            async with asyncio.timeout(WAIT):
                return str(json.loads(await process.stdout.readline())["data"].get("node_id"))

        try:
            assert await heard() == "early"
            service.process.terminate()
            await asyncio.to_thread(service.process.wait)
            with spawned_service(config, tmp_path) as again:
                await registered(again.url, "late")
                found = ""
                while found != "late":  # `end` is told in between
                    found = await heard()
        finally:
            process.terminate()
            await process.wait()


async def test_the_command_line_refuses_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service({}, tmp_path) as running:
        command = CommandLine(capsys, running.url)
        gossip = await command("events", "tail", "--type", "gossip")
        since = await command("events", "tail", "--since", "soon")
    nobody = await spawn("events", "tail", "--url", f"http://127.0.0.1:{free_port()}")
    assert (gossip.status, since.status, nobody.status) == (1, 2, 3)
    assert "gossip" in gossip.err
