"""Analytics over the administration API: real counts, from a history that outlives the process."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import admin, prompt

from orchestrator.testing.model_server import ModelServer
from service import running_service

GENERATE = "/api/generate"


async def ask(
    running: Any, count: int, body: dict[str, Any] | None = None, request_id: str = ""
) -> list[httpx2.Response]:
    headers = {"X-Request-Id": request_id} if request_id else {}
    async with httpx2.AsyncClient(base_url=running.url, timeout=20) as client:
        return [await client.post(GENERATE, json=body or prompt(), headers=headers) for _ in range(count)]


async def get(api: httpx2.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    answer = await api.get(f"/analytics/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["success"] is True
    return found


async def test_five_requests_are_five(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
    ):
        await running.healthy(1)
        await ask(running, 5)
        told = await get(api, "summary")
        summary = told["summary"]
        assert (summary["totalRequests"], summary["totalErrors"], summary["errorRate"]) == (5, 0, 0)
        assert (summary["uniqueModels"], summary["uniqueServers"], summary["timeRange"]) == (1, 1, "24h")
        assert summary["avgLatency"] > 0
        assert told["to"] - told["from"] >= 24 * 3600 * 1000
        top = (await get(api, "top-models"))["models"]
        assert [(one["model"], one["requests"], one["percentage"]) for one in top] == [("llama3:latest", 5, 100)]
        servers = (await get(api, "server-performance"))["servers"]
        assert [(one["id"], one["requests"], one["score"]) for one in servers] == [("a", 5, 100)]
        stats = (await get(api, "request-stats/a"))["stats"]
        assert (stats["totalRequests"], stats["successfulRequests"]) == (5, 5)
        assert 0 < stats["p50Latency"] <= stats["p99Latency"]
        points = (await get(api, "request-timeline", hours=1, interval=5))["dataPoints"]
        assert sum(one["count"] for one in points) == 5
        assert len(points) >= 12
        assert (await get(api, "servers-with-history"))["serverIds"] == ["a"]
        assert (await get(api, "rollups/daily"))["rollups"][0]["requests"] == 5
        assert sum(one["requests"] for one in (await get(api, "rollups/hourly"))["rollups"]) == 5
        snapshot = (await get(api, "summary-snapshots"))["snapshots"][-1]
        assert snapshot["servers"]["a"]["llama3:latest"]["requestCount"] == 5


async def test_errors_by_type_and_search(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
    ):
        await running.healthy(1)
        await ask(running, 2)
        missing = await ask(running, 3, prompt("no-such-model"))
        assert {one.status_code for one in missing} == {404}
        await ask(running, 1, request_id="find-me")
        told = await get(api, "errors")
        assert (told["totalErrors"], told["byType"]) == (3, {"model_not_found": 3})
        assert told["withoutServer"] == 3
        assert [one["errorType"] for one in told["recentErrors"]] == ["model_not_found"] * 3
        assert "recentErrors" not in await get(api, "errors", includeRecent="false")

        found = await get(api, "requests/search", id="find-me")
        assert [(one["id"], one["serverId"], one["success"]) for one in found["requests"]] == [("find-me", "a", True)]
        assert (await get(api, "requests/search", success="false"))["count"] == 3
        assert (await get(api, "requests/search", id="nobody"))["count"] == 0
        first = await get(api, "requests/browse", limit=4)
        rest = await get(api, "requests/browse", limit=4, offset=4)
        assert (first["count"], first["hasMore"], rest["count"], rest["hasMore"]) == (4, True, 2, False)
        assert len({one["id"] for one in first["requests"] + rest["requests"]}) == 6
        assert (await get(api, "requests/a"))["count"] == 3
        assert (await get(api, "requests/a", model="other"))["count"] == 0


async def test_a_restart_keeps_the_history(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        nodes = [{"id": "a", "url": server.url}]
        async with running_service({"nodes": nodes}, tmp_path) as running:
            await running.healthy(1)
            await ask(running, 3)
        async with admin(tmp_path, nodes=nodes) as (running, api):
            await running.healthy(1)
            await ask(running, 2)
            assert (await get(api, "summary"))["summary"]["totalRequests"] == 5
            assert (await get(api, "requests/browse"))["count"] == 5
            assert (await get(api, "decisions"))["count"] == 5


async def test_decisions(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as one, ModelServer(["llama3"]) as two:
        nodes = [{"id": "a", "url": one.url}, {"id": "b", "url": two.url}, {"id": "down", "url": "http://127.0.0.1:9"}]
        async with admin(tmp_path, nodes=nodes, gateway={"policy": "weighted"}) as (running, api):
            await running.healthy(2)
            answers: list[httpx2.Response] = []
            while len(answers) < 4:  # explaining may take one hundredth of the time: a slow machine explains fewer
                answers += await ask(running, 1)
                if (await get(api, "decisions"))["count"] < len(answers):
                    answers.pop()
            events = (await get(api, "decisions"))["events"]
            assert [event["requestId"] for event in events] == [x.headers["x-request-id"] for x in reversed(answers)]
            last = events[0]
            assert last["selectedServerId"] == answers[-1].headers["x-selected-server"]
            assert (last["algorithm"], last["model"]) == ("weighted", "llama3:latest")
            assert "2" in last["selectionReason"]
            assert [one["serverId"] for one in last["candidates"]][-1] == "down"
            assert last["candidates"][-1]["reason"] == "model_missing"
            assert last["candidates"][-1]["totalScore"] is None
            best = last["candidates"][0]
            assert 0 < best["totalScore"] <= 100
            assert {"latencyScore", "successRateScore", "loadScore", "capacityScore"} <= best["breakdown"].keys()
            # Taken before the request began: nothing was under way.
            assert best["metrics"]["inFlight"] == 0

            stats = await get(api, "selection-stats")
            assert sum(one["totalSelections"] for one in stats["stats"]) == 4
            assert (stats["considered"], stats["truncated"]) == (4, False)
            assert (await get(api, "algorithms"))["algorithms"] == {"weighted": {"count": 4, "percentage": 100}}
            impact = await get(api, "metrics-impact")
            weights = running.service.settings.load_balancer.weights
            assert impact["impact"]["latency"]["weight"] == weights.latency
            assert impact["impact"]["successRate"]["weight"] == weights.success_rate
            assert impact["weightsDecide"] is True
            assert impact["impact"]["latency"]["samples"] == 8
            trend = (await get(api, "decisions/trends/a/llama3:latest"))["trend"]
            assert len(trend["timestamps"]) == len(trend["scores"]) == len(trend["latencyScores"]) == 4
            assert (await get(api, "score-timeline"))["dataPoints"][-1]["serverCount"] == 2
            assert (await get(api, "decisions", serverId="down"))["count"] == 0


async def test_capacity_and_trends_promise_nothing_without_data(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url, "max_concurrency": 7}]) as (running, api),
    ):
        await running.healthy(1)
        capacity = await get(api, "capacity")
        assert capacity["current"] == {
            "totalCapacity": 7,
            "usedCapacity": 0,
            "availableCapacity": 7,
            "queueDepth": 0,
            "saturation": 0,
        }
        for forecast in capacity["forecast"].values():
            assert (forecast["confidence"], forecast["recommendation"]) == (0, "stable")
        assert capacity["idle"] is True
        assert capacity["recommendations"] == ["Idle: no request came in the last 24 hours."]
        trends = capacity["trends"]
        assert len(trends["requestsPerHour"]) == len(trends["timestamps"]) == len(trends["saturationLevels"]) == 24
        for metric in ("latency", "errors", "throughput"):
            analysis = (await get(api, f"trends/{metric}"))["analysis"]
            assert (analysis["direction"], analysis["slope"], analysis["confidence"]) == ("stable", 0, 0)
        await ask(running, 2)
        capacity = await get(api, "capacity")
        assert capacity["trends"]["requestsPerHour"][-1] == 2
        assert (capacity["idle"], capacity["recommendations"]) == (False, [])


async def test_export(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
    ):
        await running.healthy(1)
        empty = await api.get("/analytics/export", params={"format": "json"})
        assert empty.json()["requests"] == []
        await ask(running, 3)
        await ask(running, 1, prompt("=HYPERLINK(1)"))
        answer = await api.get("/analytics/export")
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == 4
        assert rows[0]["model"] == "'=HYPERLINK(1)"
        assert rows[1]["serverId"] == "a"
        whole = json.loads((await api.get("/analytics/export", params={"format": "json"})).content)
        assert [one["id"] for one in whole["requests"]] == [row["id"] for row in rows]
        sums = (await api.get("/analytics/export", params={"kind": "rollups", "format": "json"})).json()
        assert sum(one["requests"] for one in sums["rollups"]) == 4


@pytest.mark.parametrize(
    "path",
    [
        "summary?timeRange=2h",
        "summary?timeRange=custom",
        "summary?startTime=never",
        "summary?startTime=2000&endTime=1000",
        "summary?startTime=nan",
        "summary?startTime=1e300",
        "summary?startTime=99999999999999999",
        "top-models?limit=0",
        "trends/nonsense",
        "request-timeline?hours=9000&interval=1",
        "request-timeline?interval=0",
        "requests/browse?offset=-1",
        "requests/search?success=perhaps",
        "requests/search?startTime=x",
        "decisions?limit=many",
        "export?format=xml",
        "export?kind=secrets",
        "score-timeline?hours=-1",
    ],
)
async def test_bad_parameters(tmp_path: Path, path: str) -> None:
    async with admin(tmp_path) as (_, api):
        answer = await api.get(f"/analytics/{path}")
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]


async def test_a_custom_window(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
    ):
        await running.healthy(1)
        await ask(running, 1)
        now = time.time() * 1000
        past = await get(api, "summary", timeRange="custom", startTime=now - 9e6, endTime=now - 8e6)
        assert past["summary"]["totalRequests"] == 0
        here = await get(api, "summary", timeRange="custom", startTime=now - 60_000)
        assert here["summary"]["totalRequests"] == 1
        assert (await get(api, "requests/search", endTime=now - 9e6))["count"] == 0


async def test_metrics_as_json(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
    ):
        await running.healthy(1)
        await ask(running, 2)
        await ask(running, 1, prompt() | {"stream": True})
        told = (await api.get("/metrics")).json()
        assert told["global"]["totalRequests"] == 3
        assert told["global"]["streaming"]["totalStreamingRequests"] == 1
        assert told["servers"]["a"]["healthy"] is True
        pair = told["servers"]["a"]["models"]["llama3:latest"]
        assert [pair["windows"][name]["count"] for name in ("1m", "5m", "15m", "1h", "24h")] == [3] * 5
        assert len(pair["streamingMetrics"]["recentTTFTs"]) == 1
        assert pair["streamingMetrics"]["recentChunkCounts"][0] > 0
        one = (await api.get("/metrics/a/llama3")).json()
        assert (one["model"], one["metrics"]["realtime"]) == ("llama3:latest", {"inFlight": 0, "queued": 0})
        assert one["metrics"]["percentiles"] == pair["percentiles"]
        assert one["metrics"]["derived"]["successRate"] == 1
        assert (await api.get("/metrics/a/nothing")).status_code == 404
        assert (await api.get("/metrics/nobody/llama3")).status_code == 404
        text = await api.get("/metrics/prometheus")
        assert text.headers["content-type"].startswith("text/plain")
        assert 'orchestrator_history_dropped_total{kind="requests"} 0.0' in text.text
