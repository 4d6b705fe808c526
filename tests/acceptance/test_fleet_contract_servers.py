"""The fleet contract's checks 4 to 8: registering servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleet_contract import LLAMA, NOMIC, contract_fleet, has

from orchestrator.testing.model_server import ModelServer

SERVER = "id url healthy lastResponseTime models maxConcurrency version supportsOllama supportsV1 v1Models apiKey"


async def test_check_04_add_server(tmp_path: Path) -> None:
    async with ModelServer([LLAMA]) as server, contract_fleet(tmp_path, "") as fleet:
        added = await fleet.post("O/servers/add", {"id": "a", "url": server.url + "/", "maxConcurrency": 4})

        assert {name: added[name] for name in ("success", "id", "url", "maxConcurrency")} == {
            "success": True,
            "id": "a",
            "url": server.url,
            "maxConcurrency": 4,
        }
        await fleet.running.healthy(1)
        assert (await fleet.generate()).status_code == 200


async def test_check_05_missing_and_duplicates(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        missing = await fleet.call("POST", "O/servers/add", {})
        assert missing.status_code == 400
        assert missing.json()["error"] == "id and url are required"

        same_id = await fleet.call("POST", "O/servers/add", {"id": "a", "url": "http://127.0.0.1:9"})
        assert same_id.status_code == 409
        assert same_id.json()["error"] == "Server 'a' already exists"

        same_url = await fleet.call("POST", "O/servers/add", {"id": "c", "url": fleet.a.url + "/"})
        assert same_url.status_code == 409
        told = same_url.json()
        assert told.pop("error")
        assert {name: told[name] for name in ("existingServerId", "existingUrl", "requestedUrl", "normalizedUrl")} == {
            "existingServerId": "a",
            "existingUrl": fleet.a.url,
            "requestedUrl": fleet.a.url + "/",
            "normalizedUrl": fleet.a.url,
        }


async def test_check_06_add_validation(tmp_path: Path) -> None:
    good = {"id": "c", "url": "http://127.0.0.1:9"}
    wrong: list[dict[str, Any]] = [{"url": "not a url"}, {"maxConcurrency": -5}, {"id": "x:y"}]
    async with contract_fleet(tmp_path, "") as fleet:
        for part in wrong:
            answer = await fleet.call("POST", "O/servers/add", {**good, **part})
            assert answer.status_code == 400, part
            assert isinstance(answer.json()["error"], str)
        assert (await fleet.get("O/servers"))["count"] == 0


async def test_check_07_list_servers(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        await fleet.ok("PATCH", "O/servers/a", {"apiKey": "sk-a-secret-of-a-server"})

        listed = await fleet.call("GET", "O/servers")

        assert "sk-a-secret" not in listed.text
        assert listed.json()["count"] == 2
        first, second = listed.json()["servers"]
        has(first, SERVER)
        assert first["apiKey"] == "***REDACTED***"
        assert "apiKey" not in second
        for server in (first, second):
            assert server["healthy"] is True
            assert server["models"] == server["v1Models"] == [LLAMA, NOMIC]
            assert server["maxConcurrency"] == 4
            assert server["supportsOllama"] is server["supportsV1"] is True


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_check_08_patch_and_delete_unknown(tmp_path: Path, method: str) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        body = {"maxConcurrency": 7} if method == "PATCH" else None
        unknown = await fleet.call(method, "O/servers/zz", body)
        assert unknown.status_code == 404
        assert unknown.json()["error"] == "Server 'zz' not found"

        known = await fleet.ok(method, "O/servers/a", body)
        assert (known["success"], known["id"], known.get("maxConcurrency", 7)) == (True, "a", 7)
