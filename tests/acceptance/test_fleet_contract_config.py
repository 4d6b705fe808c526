"""The fleet contract's check 37: configuration."""

from __future__ import annotations

from pathlib import Path

from fleet_contract import contract_fleet, has


async def test_check_37_get_and_patch(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        shown = await fleet.get("O/config")
        has(shown, "success config source")
        has(shown["config"], "port host logLevel servers queue loadBalancer circuitBreaker security metrics streaming")
        has(shown["config"], "healthCheck tags retry")

        changed = await fleet.ok("PATCH", "O/config/streaming", {"maxHandoffAttempts": 1, "stallThresholdMs": 5000})
        has(changed, "success message section config")
        assert (changed["section"], changed["config"]["maxHandoffAttempts"]) == ("streaming", 1)
        assert (await fleet.get("O/config"))["config"]["streaming"]["stallThresholdMs"] == 5000

        has(await fleet.get("O/config/schema"), "success schema")


async def test_check_37_wrong_changes(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        before = (await fleet.get("O/config"))["config"]
        section = await fleet.call("PATCH", "O/config/nope", {"x": 1})
        assert section.status_code == 400
        assert section.json()["error"] == "Invalid configuration section"
        assert {"loadBalancer", "circuitBreaker", "security", "metrics", "streaming", "queue"} <= set(
            section.json()["validSections"]
        )
        for body in ({"port": 99999}, {"logLevel": "debug", "healthCheck": {"intervalMs": -1}}):
            refused = await fleet.call("POST", "O/config", body)
            assert refused.status_code == 400, body
            assert refused.json()["error"] == "Configuration validation failed"
            assert refused.json()["details"]
        assert (await fleet.get("O/config"))["config"] == before


async def test_check_37_a_wrapped_backup_is_restored(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        backup = await fleet.get("O/config")
        await fleet.ok("PATCH", "O/config/queue", {"maxSize": 7})

        restored = await fleet.post("O/config", backup)  # the guide's restore: what GET said, as it is

        has(restored, "success message config")
        assert (await fleet.get("O/config"))["config"] == backup["config"]
        assert (await fleet.get("O/queue"))["queue"]["maxSize"] == 1000
        await fleet.ok("PATCH", "O/config/queue", {"maxSize": 7})
        await fleet.post("O/config", backup["config"])  # and bare
        assert (await fleet.get("O/queue"))["queue"]["maxSize"] == 1000


async def test_check_37_a_change_is_in_force_for_the_next_request(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        assert (await fleet.generate(stream=None)).headers["content-type"] == "application/x-ndjson"
        await fleet.ok("PATCH", "O/config/gateway", {"ollama_stream_default": False})
        assert (await fleet.generate(stream=None)).headers["content-type"] == "application/json"
        await fleet.ok("PATCH", "O/config/gateway", {"policy": "round-robin"})
        answers = [await fleet.generate() for _ in range(4)]
        assert sorted(answer.headers["x-selected-server"] for answer in answers) == ["a", "a", "b", "b"]


async def test_check_37_save_and_reload(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.ok("PATCH", "O/config/queue", {"maxSize": 77})
        has(await fleet.post("O/config/save"), "success message path")
        has(await fleet.post("O/config/reload"), "success message config")  # YAML, as the guide's
        assert (await fleet.get("O/config"))["config"]["queue"]["maxSize"] == 77
        outside = await fleet.call("POST", "O/config/reload", {"configPath": "/etc/passwd"})
        assert outside.status_code == 400
