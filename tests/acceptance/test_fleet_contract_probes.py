"""The further regression probes below the fleet contract's forty checks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fleet_contract import LLAMA, contract_fleet, has


async def test_probe_the_summary_equals_the_real_count(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for _ in range(5):
            await fleet.generate()
        summary = (await fleet.get("O/analytics/summary"))["summary"]
        has(summary, "totalRequests totalErrors avgLatency uniqueModels uniqueServers timeRange requestsPerSecond")
        assert (summary["totalRequests"], summary["totalErrors"], summary["timeRange"]) == (5, 0, "24h")


async def test_probe_the_search_returns_rows(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for name in "aab":
            await fleet.generate(f"/api/generate--{name}")
        found = await fleet.get("O/analytics/requests/search?serverId=a&success=true")
        assert (found["count"], {row["serverId"] for row in found["requests"]}) == (2, {"a"})
        has(found["requests"][0], "id timestamp serverId model endpoint streaming duration success errorMessage")
        assert (await fleet.get("O/analytics/requests/search?model=nope"))["count"] == 0


async def test_probe_recovery_tests_of_one_breaker(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        await fleet.post(f"O/circuit-breakers/a/{LLAMA}/half-open")
        await fleet.post(f"O/servers/a/models/{LLAMA}/recovery-test")
        shown = await fleet.get(f"O/metrics/recovery-tests/a:{LLAMA}")
        has(shown, "success timestamp breakerName metrics recoveryProbability totalTests")
        assert (shown["breakerName"], shown["totalTests"]) == (f"a:{LLAMA}", 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_probe_token_counts_equal_the_server_s(tmp_path: Path, stream: bool) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        answer = await fleet.generate(prompt="please say 42 words", stream=stream)
        told = json.loads(answer.text.splitlines()[-1])
        assert told["eval_count"] == 42
        (row,) = (await fleet.get("O/analytics/requests/search"))["requests"]
        assert (row["tokensGenerated"], row["tokensPrompt"]) == (told["eval_count"], told["prompt_eval_count"])
        assert row["estimated"] is False


async def test_probe_time_to_first_token_is_from_the_request_s_start(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        fleet.a.mode("ok", ttft_ms=150)  # the server sends its head with the first token
        await fleet.generate(stream=True)
        (row,) = (await fleet.get("O/analytics/requests/search"))["requests"]
        assert 150 <= row["ttft"] <= row["duration"]


@pytest.mark.parametrize(
    "policy", ["fastest_response", "weighted", "latency_optimized", "resource_aware", "warm_first"]
)
async def test_probe_the_server_that_succeeds_is_chosen(tmp_path: Path, policy: str) -> None:
    """Two servers of the same speed, of which one answers half of its requests: never two failures in a row, or it
    would rest and could not be chosen at all."""
    config: dict[str, Any] = {"gateway": {"policy": policy}, "circuit_breaker": {"enabled": False}}
    async with contract_fleet(tmp_path, retry={"max_attempts": 1}, **config) as fleet:
        for _ in range(10):
            for kind in ("ok", "status"):
                fleet.a.mode(kind)
                for name in "ab":
                    await fleet.generate(f"/api/generate--{name}")
        fleet.a.mode()
        assert (await fleet.get("O/bans"))["bans"] == []

        chosen = [(await fleet.generate()).headers["x-selected-server"] for _ in range(10)]

        assert chosen.count("b") >= 9, chosen


async def test_probe_no_prompt_in_flight_for_others_than_admins(tmp_path: Path) -> None:
    roles = ("viewer", "operator", "developer", "admin")
    keys = [{"name": role, "key": f"a-long-test-key-of-{role}", "role": role} for role in roles]
    secret = "the-secret-of-the-prompt"
    async with contract_fleet(tmp_path, "a", auth={"enabled": True, "keys": keys}) as fleet:
        headers = {role: {"X-API-Key": f"a-long-test-key-of-{role}"} for role in roles}
        fleet.a.mode("hang_mid", after=2)
        body = {"model": "llama3", "prompt": secret, "stream": True}
        running = asyncio.create_task(fleet.call("POST", "/api/generate", body, headers=headers["developer"]))
        await fleet.a.wait_for(lambda server: server.hanging == 1)

        shown = {role: await fleet.call("GET", "O/in-flight", headers=headers[role]) for role in roles}

        for role, answer in shown.items():
            assert answer.json()["total"] == 1
            (server,) = answer.json()["inFlight"]
            has(server, "serverId serverUrl healthy total byModel streamingRequests")
            assert server["byModel"] == {LLAMA: {"regular": 1, "bypass": 0}}
            has(server["streamingRequests"][0], "id serverId model startTime chunkCount lastChunkTime isStalled")
            has(server["streamingRequests"][0], "protocol endpoint handoffCount hasReceivedFirstChunk")
            assert (secret in answer.text) is (role == "admin"), role
        fleet.a.release()
        assert (await running).status_code == 200
