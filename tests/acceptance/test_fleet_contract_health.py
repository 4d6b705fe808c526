"""The fleet contract's checks 1 to 3: is it up, is it ready, what does it do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fleet_contract import contract_fleet, has


async def test_check_01_liveness(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        assert (await fleet.generate()).status_code == 200

        shown = await fleet.get("/health")

        assert shown["status"] == "ok"
        assert shown["uptime"] > 0
        assert abs((datetime.now(UTC) - datetime.fromisoformat(shown["timestamp"])).total_seconds()) < 60
        inner = shown["orchestrator"]
        assert (inner["totalServers"], inner["healthyServers"]) == (2, 2)
        assert (inner["totalModels"], inner["inFlightRequests"]) == (2, 0)
        assert {"a", "b"} < set(inner["circuitBreakers"])
        for breaker in inner["circuitBreakers"].values():
            assert breaker == {"state": "closed", "failureCount": 0}
        assert await fleet.get("/health/live") == {"status": "ok"}


async def test_check_02_readiness(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.a.kill()
        await fleet.running.until(lambda: not fleet.running.service.fleet.nodes["a"].healthy)
        assert await fleet.get("/health/ready") == {"status": "ready", "healthyServers": 1}
        await fleet.b.kill()
        await fleet.running.until(lambda: not fleet.running.service.fleet.nodes["b"].healthy)

        refused = await fleet.call("GET", "/health/ready")

        assert refused.status_code == 503
        body = refused.json()
        has(body, "status reason totalServers")
        assert (body["status"], body["totalServers"]) == ("not_ready", 2)
        assert (await fleet.call("GET", "/health")).status_code == 200  # it lives, all the same


async def test_check_03_orchestrator_health(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        shown = await fleet.get("O/health")

        has(shown, "success status uptime version servers requestsPerSecond queue healthyServers")
        assert (shown["success"], shown["status"]) == (True, "healthy")
        assert (shown["servers"], shown["healthyServers"]) == (2, 2)
        assert shown["queue"]["maxSize"] == 1000
