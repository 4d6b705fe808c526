"""The curl lines of Ollama Orchestrator's operations guide that the fleet contract cites: each answers with a 2xx and
the documented fields. Most of them had gone from the program; who follows the guide finds them all here."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from admin_api import ADMIN
from fleet_contract import LLAMA, ContractFleet, contract_fleet, has

from orchestrator.testing.model_server import ModelServer

PAIR = f"O/circuit-breakers/a/{LLAMA}"
# As the guide has them: what curl is told, and the fields of the answer. In this order they are a day's work.
LINES: list[tuple[str, str, Any, str]] = [
    ("GET", "/health", None, "status uptime timestamp orchestrator version"),
    ("GET", "/health/live", None, "status"),
    ("GET", "/health/ready", None, "status healthyServers"),
    ("GET", "O/health", None, "success status uptime version servers queue"),
    ("GET", "O/stats", None, "success stats"),
    ("GET", "O/queue", None, "success queue inFlight"),
    ("POST", "O/queue/pause", None, "success paused"),
    ("POST", "O/queue/resume", None, "success paused"),
    ("PATCH", "O/config/queue", {"maxSize": 2000}, "success message section config"),
    ("GET", "O/in-flight", None, "success total inFlight"),
    ("GET", "O/servers", None, "success count servers"),
    ("PATCH", "O/servers/a", {"maxConcurrency": 8}, "success id maxConcurrency"),
    ("POST", "O/servers/a/drain", None, "message inFlightRequests estimatedCompletion"),
    ("POST", "O/servers/a/undrain", None, "message"),
    ("POST", "O/servers/a/maintenance", {"enabled": True, "reason": "disk"}, "message serverId maintenance"),
    ("POST", "O/servers/a/maintenance", {"enabled": False}, "message serverId maintenance"),
    ("GET", "O/circuit-breakers", None, "success circuitBreakers"),
    ("GET", PAIR, None, "key serverId model stats lbScore"),
    ("POST", f"{PAIR}/reset", None, "message previousState currentState testCancelled"),
    ("POST", "O/circuit-breakers/a/reset", None, "message currentState testCancelled"),
    ("GET", "O/bans", None, "success count bans"),
    ("DELETE", "O/bans", None, "success removed message"),
    ("GET", "O/config", None, "success config source"),
    ("GET", "O/config/schema", None, "success schema"),
    ("POST", "O/config/save", None, "success message path"),
    ("POST", "O/config/reload", None, "success message config"),
    ("GET", "O/logs?limit=50&level=error", None, "logs count total"),
    ("POST", "O/logs/clear", None, "message"),
    ("GET", "O/metrics", None, "success timestamp global servers"),
    ("GET", "O/analytics/summary", None, "success summary"),
    ("GET", "O/analytics/capacity", None, "success current forecast trends recommendations"),
    ("GET", "O/analytics/errors", None, "success totalErrors byType byServer byModel trend recentErrors"),
    ("POST", "O/models/llama3:latest/warmup", {"priority": "high"}, "success model jobs summary"),
    ("POST", "O/drain?timeout=30000", None, "success message timeout"),
]


def curl(url: str, *arguments: str) -> tuple[int, Any]:
    """The status and the JSON that the real curl gets."""
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}", *arguments, url]
    text, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), json.loads(text)


def address(fleet: ContractFleet, path: str) -> str:
    return fleet.running.url + (ADMIN + path[1:] if path.startswith("O/") else path)


async def test_guide_every_line(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        assert (await fleet.generate()).status_code == 200
        for method, path, body, fields in LINES:
            arguments = [] if method == "GET" else ["-X", method]
            if body is not None:
                arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]

            status, answer = await asyncio.to_thread(curl, address(fleet, path), *arguments)

            assert 200 <= status < 300, (method, path, status, answer)
            has(answer, fields, f"{method} {path}")


async def test_guide_backup_and_restore(tmp_path: Path) -> None:
    """`curl .../config > backup.json`, and back with `curl -d @backup.json`."""
    async with contract_fleet(tmp_path) as fleet:
        file = tmp_path / "backup.json"
        config = address(fleet, "O/config")
        await asyncio.to_thread(subprocess.run, ["curl", "-sS", "--noproxy", "*", "-o", str(file), config], check=True)
        await fleet.ok("PATCH", "O/config/queue", {"maxSize": 5})
        json_header = ("-H", "Content-Type: application/json")

        status, restored = await asyncio.to_thread(curl, config, "-X", "POST", *json_header, "-d", f"@{file}")

        assert status == 200
        has(restored, "success message config")
        assert (await fleet.get("O/queue"))["queue"]["maxSize"] == 1000


async def test_guide_add_and_remove_a_server(tmp_path: Path) -> None:
    async with ModelServer([LLAMA]) as server, contract_fleet(tmp_path, "a") as fleet:
        body = json.dumps({"id": "c", "url": server.url, "maxConcurrency": 4})
        json_header = ("-H", "Content-Type: application/json")
        status, added = await asyncio.to_thread(
            curl, address(fleet, "O/servers/add"), "-X", "POST", *json_header, "-d", body
        )
        assert (status, added["id"], added["maxConcurrency"]) == (200, "c", 4)
        status, removed = await asyncio.to_thread(curl, address(fleet, "O/servers/c"), "-X", "DELETE")
        assert (status, removed) == (200, {"success": True, "id": "c"})


async def test_guide_inference_by_hand(tmp_path: Path) -> None:
    """Without a content type, as people type it: curl says that it is a form."""
    async with contract_fleet(tmp_path, "a") as fleet:
        body = json.dumps({"model": "llama3", "prompt": "hi", "stream": False})
        status, answer = await asyncio.to_thread(curl, address(fleet, "/api/generate"), "-d", body)
        assert (status, answer["response"]) == (200, "echo: hi")


async def test_guide_drain_empties_the_service(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        fleet.a.mode("hang", times=1)
        running = asyncio.create_task(fleet.generate())
        await fleet.a.wait_for(lambda server: server.hanging == 1)

        status, draining = await asyncio.to_thread(curl, address(fleet, "O/drain?timeout=30000"), "-X", "POST")

        assert (status, draining["timeout"]) == (200, 30000)
        assert (await fleet.generate()).status_code == 503
        assert (await fleet.call("GET", "/health/ready")).status_code == 503
        fleet.a.release()
        assert (await running).status_code == 200
