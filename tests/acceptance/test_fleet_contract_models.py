"""The fleet contract's check 38: models of one server and of the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet_contract import LLAMA, NOMIC, ContractFleet, contract_fleet, has

COUNTERS = "totalServers loadedOn loadingOn notLoadedOn failedOn"


async def loaded(fleet: ContractFleet, count: int) -> Any:
    """The status of the model once it is in memory on so many servers."""
    for _ in range(500):
        shown = await fleet.get(f"O/models/{LLAMA}/status")
        if shown["status"]["loadedOn"] == count and not shown["status"]["loadingOn"]:
            return shown
    raise AssertionError(shown)


async def test_check_38_models_of_a_server(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        shown = await fleet.get("O/servers/a/models")
        has(shown, "success serverId serverUrl models")
        assert (shown["serverId"], shown["serverUrl"]) == ("a", fleet.a.url)
        assert [row["name"] for row in shown["models"]] == [LLAMA, NOMIC]
        has(shown["models"][0], "name modified_at size digest")
        assert (await fleet.call("GET", "O/servers/zz/models")).status_code == 404
        await fleet.b.kill()
        await fleet.running.until(lambda: not fleet.running.service.fleet.nodes["b"].healthy)
        assert (await fleet.call("GET", "O/servers/b/models")).status_code == 503


async def test_check_38_pull_normalises_the_name(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        pulled = await fleet.post("O/servers/a/models/pull", {"model": " Llama3 / X "})

        has(pulled, "success serverId model message details")
        assert (pulled["success"], pulled["serverId"], pulled["model"]) == (True, "a", "llama3/x")
        assert fleet.asked("/api/pull") == ["a"]
        (received,) = [one for one in fleet.a.requests if one.path == "/api/pull"]
        assert received.body["model"] == "llama3/x"
        names = [row["name"] for row in (await fleet.get("O/servers/a/models"))["models"]]
        assert "llama3/x:latest" in names
        await fleet.running.until(lambda: "a" in fleet.running.service.fleet.catalogue.nodes("llama3/x"))
        assert (await fleet.generate(model="llama3/x")).headers["x-selected-server"] == "a"

        for body, status in (({}, 400), ({"model": ""}, 400), ({"model": 7}, 400)):
            assert (await fleet.call("POST", "O/servers/a/models/pull", body)).status_code == status, body
        assert (await fleet.call("POST", "O/servers/zz/models/pull", {"model": "x"})).status_code == 404


async def test_check_38_a_failed_pull_says_why(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        fleet.a.mode("status", status=500, message="no space left on device", path="/api/pull", routes="all")
        failed = await fleet.call("POST", "O/servers/a/models/pull", {"model": "big"})
        assert failed.status_code >= 500
        assert "no space left" in failed.json()["error"]


async def test_check_38_copy_and_delete(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.post("O/servers/a/models/pull", {"model": "phi"})
        await fleet.running.until(lambda: "a" in fleet.running.service.fleet.catalogue.nodes("phi"))
        copied = await fleet.post("O/servers/b/models/copy", {"model": "phi", "sourceServerId": "a"})
        has(copied, "success serverId model message")
        assert (
            await fleet.call("POST", "O/servers/b/models/copy", {"model": "none", "sourceServerId": "a"})
        ).status_code == 400
        assert (
            await fleet.call("POST", "O/servers/b/models/copy", {"model": "phi", "sourceServerId": "zz"})
        ).status_code == 404

        deleted = await fleet.ok("DELETE", "O/servers/b/models/phi:latest")

        assert deleted["success"] is True
        assert "phi:latest" not in [row["name"] for row in (await fleet.get("O/servers/b/models"))["models"]]


async def test_check_38_warm_up_status_unload(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        warmed = await fleet.post(f"O/models/{LLAMA}/warmup", {"servers": ["a"]})
        has(warmed, "success model jobs summary")
        has(warmed["jobs"][0], "serverId status estimatedTime")
        has(warmed["summary"], "totalServers loadedOn loadingOn failedOn")

        shown = await loaded(fleet, 1)

        assert fleet.a.loaded == [LLAMA]
        assert fleet.b.loaded == []
        has(shown, "success model status servers")
        has(shown["status"], COUNTERS)
        assert shown["servers"]["a"]["loaded"] is True
        assert shown["servers"]["a"]["gpuMemory"] == 4000  # MB, as /api/ps says
        assert shown["servers"]["b"]["loaded"] is False
        whole = await fleet.get("O/models/status")
        has(whole["summary"], "totalServers totalModels loadedModels loadingModels averageLoadTime")
        has(whole["models"][LLAMA], COUNTERS + " servers")
        has(whole["models"][LLAMA]["servers"]["a"], "loaded loading lastUsed loadTime gpuMemory")

        gone = await fleet.post(f"O/models/{LLAMA}/unload", {"serverId": "a"})
        assert gone["results"] == [{"serverId": "a", "success": True}]
        has(gone["summary"], "totalServers successfullyUnloaded failed")
        assert fleet.a.loaded == []
        assert (await fleet.call("POST", f"O/models/{LLAMA}/unload")).status_code == 404
        has(await fleet.post(f"O/models/{LLAMA}/cancel"), "success model cancelled message")


async def test_check_38_a_load_that_a_client_caused_shows_too(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        assert (await fleet.generate()).status_code == 200
        shown = await loaded(fleet, 1)
        assert shown["servers"]["a"]["lastUsed"] > 1_600_000_000_000
        has(await fleet.get("O/models/idle?threshold=0"), "success threshold models count")
        has(await fleet.get("O/models/recommendations"), "success recommendations count")
        has(
            await fleet.get("O/models/fleet-stats"),
            "success totalServers healthyServers totalUniqueModels popularModels",
        )
