"""The fleet contract's checks 20 and 36: more requests than places."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
from fleet_contract import ContractFleet, contract_fleet, has

QUEUE = "currentSize maxSize totalQueued totalDropped avgWaitTime paused byModel items"
ITEM = "id model priority enqueueTime deadline waitTime endpoint clientId"


async def occupied(fleet: ContractFleet, count: int) -> list[asyncio.Task[httpx2.Response]]:
    """So many requests that hang, one on each server. The model is in memory before: who finds it busy on one server
    and not loaded on the other may rather wait."""
    for name in fleet.servers:
        assert (await fleet.generate(f"/api/generate--{name}")).status_code == 200
    for server in list(fleet.servers.values())[:count]:
        server.mode("hang", times=1)
    tasks = [asyncio.create_task(fleet.generate()) for _ in range(count)]
    for server in list(fleet.servers.values())[:count]:
        await server.wait_for(lambda seen: seen.hanging == 1)
    return tasks


async def finished(fleet: ContractFleet, tasks: list[Any]) -> list[httpx2.Response]:
    for server in fleet.servers.values():
        server.release()
    answers: list[httpx2.Response] = await asyncio.gather(*tasks)
    return answers


async def waiting(fleet: ContractFleet, count: int) -> None:
    await fleet.running.until(lambda: len(fleet.running.service.gateway.queue) == count)


async def test_check_20_saturation_waits(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, max_concurrency=1) as fleet:
        tasks = await occupied(fleet, 2)
        third = asyncio.create_task(fleet.generate())
        await waiting(fleet, 1)
        assert sorted(fleet.asked()) == ["a", "a", "b", "b"]  # one each to warm up

        answers = await finished(fleet, [*tasks, third])

        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert float(answers[-1].headers["x-queue-wait-ms"]) > 0


async def test_check_20_a_full_queue_and_an_expired_wait(tmp_path: Path) -> None:
    queue = {"max_size": 1, "timeout": 0.3}
    async with contract_fleet(tmp_path, max_concurrency=1, queue=queue) as fleet:
        tasks = await occupied(fleet, 2)
        patient = asyncio.create_task(fleet.generate())
        await waiting(fleet, 1)

        full = await fleet.generate()
        expired = await patient

        for answer in (full, expired):
            assert answer.status_code == 503
            body = answer.json()
            has(body, "error model message")
            assert body["error"].startswith("All servers at max concurrency")
            assert body["model"] == "llama3"
            assert int(answer.headers["retry-after"]) >= 1
        assert {answer.status_code for answer in await finished(fleet, tasks)} == {200}


async def test_check_36_queue(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", max_concurrency=1) as fleet:
        tasks = await occupied(fleet, 1)
        tasks.append(asyncio.create_task(fleet.generate()))
        await waiting(fleet, 1)

        shown = await fleet.get("O/queue")

        has(shown, "success queue inFlight")
        queue = shown["queue"]
        has(queue, QUEUE)
        assert (queue["currentSize"], queue["maxSize"], queue["totalQueued"], queue["paused"]) == (1, 1000, 1, False)
        assert queue["byModel"] == {"llama3:latest": 1}
        has(queue["items"][0], ITEM)
        assert queue["items"][0]["enqueueTime"] > 1_600_000_000_000  # ms
        assert shown["inFlight"] == {"a": {"total": 1, "byModel": {"llama3:latest": 1}}}

        assert await fleet.post("O/queue/pause") == {"success": True, "paused": True}
        assert (await fleet.get("O/queue"))["queue"]["paused"] is True
        for path, body in (
            ("/api/generate", {"model": "llama3", "prompt": "hi"}),
            ("/v1/chat/completions", {"model": "llama3", "messages": [{"role": "user", "content": "hi"}]}),
        ):
            refused = await fleet.call("POST", path, body)
            assert refused.status_code == 503
            assert "paused" in refused.text
            assert int(refused.headers["retry-after"]) >= 1
        assert await fleet.post("O/queue/resume") == {"success": True, "paused": False}
        assert {answer.status_code for answer in await finished(fleet, tasks)} == {200}
        assert (await fleet.generate()).status_code == 200

        changed = await fleet.ok("PATCH", "O/config/queue", {"maxSize": 2000})
        assert changed["config"]["maxSize"] == 2000
        assert (await fleet.get("O/queue"))["queue"]["maxSize"] == 2000
