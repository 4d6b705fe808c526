"""`orchestrator webhooks` against a real service."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from cli_command import CommandLine

from service import free_port, running_service

CONFIG = {
    "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
    "tasks": {"webhook_retry": 60},
}


async def test_deliveries_are_listed_and_begun_anew(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = CommandLine(capsys)
    url = f"http://127.0.0.1:{free_port()}/gone"
    async with running_service(CONFIG, tmp_path) as run:
        orchestrator = command.at(run.url)
        none = await orchestrator("webhooks")
        async with httpx2.AsyncClient(base_url=f"{run.url}/api/v1", trust_env=False) as http:
            for task_id in ("a", "b"):
                await http.post("/tasks", json={"task_type": "t", "task_id": task_id, "callback_url": url})
                await http.post(f"/tasks/{task_id}/cancel")
        found: list[dict[str, str]] = []
        while len(found) < 2 or not all(int(row["attempts"]) for row in found):
            found = (await orchestrator("webhooks", "list", "--state", "pending")).rows
        of_a = (await orchestrator("webhooks", "list", "--task", "a", "--json")).json
        async with httpx2.AsyncClient(base_url=run.url, trust_env=False) as http:
            metrics = (await http.get("/metrics")).text.splitlines()
        again = await orchestrator("webhooks", "replay", of_a[0]["webhook_id"])
        both = (await orchestrator("webhooks", "replay", "--task", "b", "--json")).json
        unknown = await orchestrator("webhooks", "replay", "unknown")
        some = await orchestrator("webhooks", "replay", of_a[0]["webhook_id"], "unknown", "--json")
        wrong = [await orchestrator("webhooks", "replay", *which) for which in ((), ("x", "--task", "a"))]
    assert (none.status, "There are no such deliveries." in none.err) == (0, True)
    assert {row["task"] for row in found} == {"a", "b"}
    assert all(row["state"] == "pending" and row["error"] != "-" for row in found)
    assert [one["task_id"] for one in of_a] == ["a"]
    assert (again.status, "1 delivery begun anew." in again.err) == (0, True)
    assert both["count"] == 1
    assert 'orchestrator_webhook_attempts_total{outcome="retry"} 2.0' in metrics
    assert 'orchestrator_webhook_attempts_total{outcome="delivered"} 0.0' in metrics
    assert (unknown.status, "Webhook not found" in unknown.err) == (1, True)
    assert (some.status, '"count": 1' in some.out) == (1, True)
    assert [one.status for one in wrong] == [2, 2]
