"""The fleet contract's checks 18, 19, 21 and 39: servers and clients that fail."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fleet_contract import ContractFleet, contract_fleet, has

from fleet_under_test import Wire, request

STREAM = {"model": "llama3", "prompt": "one two three four five six", "stream": True}


async def first_at_a(fleet: ContractFleet, send: Any) -> Any:
    """The first answer for which `a` was asked first; the policy takes turns."""
    for _ in range(4):
        answer = await send()
        if fleet.running.service.gateway.history[-1].attempts[0].node_id == "a":
            return answer
    raise AssertionError("no request went to `a` first")


async def test_check_18_failover(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, gateway={"policy": "round_robin"}) as fleet:
        fleet.a.mode("status", status=500)

        answer = await first_at_a(fleet, lambda: fleet.generate("/api/generate?debug=true"))

        assert (answer.status_code, answer.json()["response"]) == (200, "echo: hi")
        debug = answer.json()["debug"]
        has(debug, "requestId requestTimestamp selectedServerId serverCircuitState modelCircuitState")
        has(debug, "availableServerCount retryCount serversTried totalCandidates serverLoad maxConcurrency")
        has(debug, "algorithm protocol timeoutMs failoverPhase failoverCount failoverErrors failoverOccurred")
        assert (debug["failoverOccurred"], debug["serversTried"]) == (True, ["a", "b"])
        assert (debug["selectedServerId"], debug["failoverCount"]) == ("b", 1)
        assert debug["failoverErrors"][0]["serverId"] == "a"
        assert answer.headers["x-failover-occurred"] == "1"
        assert answer.headers["x-selected-server"] == "b"
        assert answer.headers["x-servers-tried"] == "a,b"
        assert (answer.headers["x-retry-count"], answer.headers["x-failover-count"]) == ("1", "1")


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_check_19_client_error_not_failed_over(tmp_path: Path, status: int) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for server in fleet.servers.values():
            server.mode("status", status=status, message="your own mistake")

        answer = await fleet.generate()

        assert answer.status_code == status
        assert "your own mistake" in answer.json()["error"]
        assert len(fleet.asked()) == 1
        assert (await fleet.get("O/bans"))["bans"] == []
        for server in fleet.servers.values():
            server.mode()
        assert (await fleet.generate()).status_code == 200


async def test_check_21_timeout_header(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for server in fleet.servers.values():
            server.mode("slow", ms=2000)
        begun = time.monotonic()

        answer = await fleet.client.post(
            "/api/generate",
            json={"model": "llama3", "prompt": "hi", "stream": False},
            headers={"X-Request-Timeout": "500"},
        )

        assert 0.4 < time.monotonic() - begun < 1.5
        assert answer.status_code == 504
        assert isinstance(answer.json()["error"], str)


async def test_check_39_disconnect(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        fleet.a.mode("hang_mid", after=2)
        host, _, port = fleet.running.url.removeprefix("http://").partition(":")
        async with Wire((host, int(port))) as wire:
            await wire.send(request("/api/generate", STREAM))
            await wire.until(b"echo")
            assert (await fleet.get("O/in-flight"))["total"] == 1

            wire.socket.close()

            await fleet.a.wait_for(lambda server: server.disconnects == 1 and server.in_flight == 0, timeout=1.0)
            await fleet.idle(1.0)
            assert (await fleet.get("O/in-flight"))["total"] == 0
            assert (await fleet.get("/health"))["orchestrator"]["inFlightRequests"] == 0


async def test_check_39_stall_is_continued(tmp_path: Path) -> None:
    streaming = {"stall_threshold": 0.2, "continuation": True}
    async with contract_fleet(tmp_path, gateway={"policy": "round_robin"}, streaming=streaming) as fleet:
        fleet.a.mode("hang_mid", after=3)

        answer = await first_at_a(fleet, lambda: fleet.call("POST", "/api/generate", STREAM))

        lines = [json.loads(line) for line in answer.text.splitlines()]
        text = "".join(line.get("response", "") for line in lines)
        attempts = fleet.running.service.gateway.history[-1].attempts
        assert [attempt.node_id for attempt in attempts] == ["a", "b"]
        assert lines[-1]["done"] is True
        assert text.startswith("echo: one two")
        assert not any("error" in line for line in lines)


async def test_check_39_stall_is_an_explicit_error(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", streaming={"stall_threshold": 0.2}) as fleet:
        fleet.a.mode("hang_mid", after=3)
        async with asyncio.timeout(5):
            answer = await fleet.call("POST", "/api/generate", STREAM)

        *before, last = [json.loads(line) for line in answer.text.splitlines()]
        assert "".join(line["response"] for line in before) == "echo: one two"
        assert isinstance(last["error"], str)
        await fleet.a.wait_for(lambda server: server.in_flight == 0, timeout=1.0)
