"""The fleet contract's checks 26 and 31 to 33: circuit breakers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet_contract import LLAMA, ContractFleet, contract_fleet, has

FIELDS = (
    "serverId serverIdOnly model state failureCount successCount totalRequestCount blockedRequestCount lastFailure "
    "lastSuccess nextRetryAt errorRate errorCounts consecutiveSuccesses halfOpenStartedAt halfOpenAttempts "
    "activeTestsInProgress lastFailureReason lastErrorType lbScore"
)
SCORES = "totalScore latencyScore successRateScore loadScore capacityScore circuitBreakerScore timeoutScore"
PAIR = f"O/circuit-breakers/a/{LLAMA}"


async def counts(fleet: ContractFleet) -> Any:
    stats = (await fleet.get(PAIR))["stats"]
    return {name: stats[name] for name in ("state", "failureCount", "successCount", "totalRequestCount", "errorRate")}


async def test_check_26_bypass(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.post(f"{PAIR}/open")
        before = await counts(fleet)

        refused = await fleet.generate("/api/generate--a")
        assert refused.status_code == 503
        assert isinstance(refused.json()["error"], str)
        for query in ("bypass=true", "force=true"):
            assert (await fleet.generate(f"/api/generate--a?{query}")).json()["response"] == "echo: hi"

        assert await counts(fleet) == before
        assert (await fleet.generate()).headers["x-selected-server"] == "b"


async def test_check_31_breaker_list(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for name in "ab":
            await fleet.generate(f"/api/generate--{name}")
        await fleet.post(f"{PAIR}/open")
        await fleet.post(f"O/circuit-breakers/b/{LLAMA}/half-open")

        listed = (await fleet.get("O/circuit-breakers"))["circuitBreakers"]

        found = {one["serverId"]: one for one in listed}
        assert set(found) == {"a", "b", f"a:{LLAMA}", f"b:{LLAMA}"}
        assert {key: one["state"] for key, one in found.items()} == {
            "a": "CLOSED",
            "b": "CLOSED",
            f"a:{LLAMA}": "OPEN",
            f"b:{LLAMA}": "HALF-OPEN",
        }
        for key, one in found.items():
            has(one, FIELDS, key)
            has(one["errorCounts"], "retryable non-retryable transient permanent rateLimited")
            assert one["serverIdOnly"] == key[0]
            assert one["model"] == key[2:]
        await fleet.post(f"{PAIR}/close")
        scored = {one["serverId"]: one for one in (await fleet.get("O/circuit-breakers"))["circuitBreakers"]}
        has(scored[f"a:{LLAMA}"]["lbScore"], SCORES)


async def test_check_32_force_and_reset(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        for word, state, status in (("open", "OPEN", 503), ("half-open", "HALF-OPEN", 200), ("close", "CLOSED", 200)):
            forced = await fleet.post(f"{PAIR}/{word}")
            has(forced, "success message circuitBreaker")
            assert (forced["circuitBreaker"]["state"], forced["circuitBreaker"]["name"]) == (state, f"a:{LLAMA}")
            assert (await fleet.generate()).status_code == status, word

        await fleet.post(f"{PAIR}/open")
        reset = await fleet.post(f"{PAIR}/reset")
        assert isinstance(reset["message"], str)
        assert {name: reset[name] for name in ("previousState", "currentState", "testCancelled")} == {
            "previousState": "open",
            "currentState": "closed",
            "testCancelled": False,
        }
        assert (await fleet.generate()).status_code == 200

        whole = await fleet.get("O/circuit-breakers/a")
        assert (whole["serverId"], whole["stats"]["state"]) == ("a", "closed")
        one = await fleet.get(PAIR)
        has(one, "key serverId model stats lbScore")
        has(one["lbScore"], "total components")
        has(one["lbScore"]["components"], "latency successRate load capacity")
        shown = (await fleet.get(f"O/servers/a/models/{LLAMA}/circuit-breaker"))["circuitBreaker"]
        has(shown, "name state errorRatePercent")
        assert shown["state"] == "CLOSED"
        assert (await fleet.post("O/circuit-breakers/a/server/reset"))["currentState"] == "closed"
        assert (await fleet.post("O/circuit-breakers/a/reset"))["currentState"] == "closed"


async def test_check_33_recovery_unaided(tmp_path: Path) -> None:
    breaker = {"base_failure_threshold": 3, "adaptive_thresholds": False, "recovery_success_threshold": 2}
    breaker |= {"open_time": 0.1, "open_max": 0.1, "recovery_test_interval": 0.1}
    async with contract_fleet(tmp_path, "a", circuit_breaker=breaker, retry={"max_attempts": 1}) as fleet:
        assert (await fleet.generate()).status_code == 200  # loaded: a test of a breaker loads no model
        fleet.a.mode("status", status=500)
        for _ in range(6):
            await fleet.generate()
        opened = await fleet.get(PAIR)
        assert "open" in {change["newState"] for change in opened["history"]}
        fleet.a.mode()

        found = fleet.running.service.fleet.breaker("a", LLAMA)
        assert found is not None
        await fleet.running.until(lambda: found.state.value == "closed")  # nobody calls, nobody resets

        assert (await fleet.get(PAIR))["stats"]["state"] == "closed"
        assert (await fleet.generate()).status_code == 200
