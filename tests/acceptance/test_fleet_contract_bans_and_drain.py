"""The fleet contract's checks 34 and 35: what keeps traffic from a server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fleet_contract import LLAMA, contract_fleet, has


async def test_check_34_bans(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", retry={"max_attempts": 1}) as fleet:
        fleet.a.mode("status", status=500)
        for _ in range(4):
            assert (await fleet.generate()).status_code >= 500
        fleet.a.mode()

        listed = await fleet.get("O/bans")

        assert listed["count"] == 1
        (ban,) = listed["bans"]
        has(ban, "serverId model key type")
        assert (ban["serverId"], ban["model"], ban["key"]) == ("a", LLAMA, f"a:{LLAMA}")
        assert ban["type"] == "cooldown"
        removed = await fleet.ok("DELETE", f"O/bans/a/{LLAMA}")
        has(removed, "success message")
        none = await fleet.call("DELETE", f"O/bans/a/{LLAMA}")
        assert none.status_code == 404
        assert isinstance(none.json()["error"], str)
        assert (await fleet.get("O/bans"))["bans"] == []


async def test_check_34_a_permanent_ban_is_told_apart(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.post("O/bans", {"serverId": "a", "model": LLAMA})
        (ban,) = (await fleet.get("O/bans"))["bans"]
        assert (ban["key"], ban["type"]) == (f"a:{LLAMA}", "permanent")
        for path in ("", "/server/a", f"/model/{LLAMA}"):
            removed = await fleet.ok("DELETE", f"O/bans{path}")
            has(removed, "success removed message")
            assert removed["removed"] == 1
            await fleet.post("O/bans", {"serverId": "a", "model": LLAMA})


async def test_check_35_drain_and_undrain(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        fleet.a.mode("hang", times=1)
        running = asyncio.create_task(fleet.generate("/api/generate--a"))
        await fleet.a.wait_for(lambda server: server.hanging == 1)

        drained = await fleet.post("O/servers/a/drain")

        has(drained, "message inFlightRequests estimatedCompletion")
        assert drained["inFlightRequests"] == 1
        for _ in range(4):
            assert (await fleet.generate()).headers["x-selected-server"] == "b"
        assert len(fleet.asked()) == 5
        fleet.a.release()
        assert (await running).json()["response"] == "echo: hi"  # what was under way has finished
        assert isinstance((await fleet.post("O/servers/a/undrain"))["message"], str)
        await fleet.post("O/servers/b/drain")
        assert (await fleet.generate()).headers["x-selected-server"] == "a"


async def test_check_35_maintenance(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        away = await fleet.post("O/servers/a/maintenance", {"enabled": True, "reason": "new disk"})
        has(away, "message serverId maintenance")
        assert (away["serverId"], away["maintenance"]) == ("a", True)
        for _ in range(4):
            assert (await fleet.generate()).headers["x-selected-server"] == "b"
        await fleet.post("O/servers/b/maintenance")  # `enabled` is true when left out
        assert (await fleet.generate()).status_code == 503

        assert (await fleet.post("O/servers/a/maintenance", {"enabled": False}))["maintenance"] is False
        assert (await fleet.generate()).headers["x-selected-server"] == "a"
        assert (await fleet.get("O/servers"))["servers"][0]["maxConcurrency"] == 4  # as it was


async def test_check_35_unknown_servers(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        for word in ("drain", "undrain", "maintenance"):
            unknown = await fleet.call("POST", f"O/servers/zz/{word}")
            assert unknown.status_code == 404, word
            assert "zz" in unknown.json()["error"]
