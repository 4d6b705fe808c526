"""The shortest and the longest answer of a window, over the administration API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from admin_api import admin, prompt

from orchestrator.testing.model_server import ModelServer

MODEL = "llama3:latest"


async def windows(api: httpx2.AsyncClient) -> dict[str, Any]:
    whole = (await api.get("/metrics")).json()["servers"]["a"]["models"][MODEL]["windows"]
    of_pair = (await api.get(f"/metrics/a/{MODEL}")).json()["metrics"]["historical"]
    for name, window in of_pair.items():
        for key in ("minLatency", "maxLatency"):
            assert window[key] == whole[name][key]
    return dict(whole)


async def test_they_are_what_was_measured_and_null_where_that_is_not_known(tmp_path: Path) -> None:
    async with ModelServer(["llama3"], ttft_ms=5) as server:
        nodes = [{"id": "a", "url": server.url}]
        async with admin(tmp_path, nodes=nodes) as (running, api):
            await running.healthy(1)
            for delay in (5, 300, 5):
                server.mode("slow", ms=delay)
                assert (await api.post(f"{running.url}/api/generate", json=prompt())).status_code == 200
            server.mode("status", status=400)
            await api.post(f"{running.url}/api/generate", json=prompt())  # it failed: it is not among them
            server.mode()
            durations = [1000 * one.duration for one in running.service.gateway.history if one.outcome == "ok"]
            for name in ("5m", "15m", "1h", "24h"):
                window = (await windows(api))[name]
                assert window["minLatency"] == round(min(durations), 1)
                assert window["maxLatency"] == round(max(durations), 1) >= 300
        async with admin(tmp_path, nodes=nodes) as (running, api):
            await running.healthy(1)
            assert (await api.post(f"{running.url}/api/generate", json=prompt())).status_code == 200
            window = (await windows(api))["24h"]
            assert window["count"] == 5
            assert (window["minLatency"], window["maxLatency"]) == (None, None)
