"""Health, status, metrics, the switch and the dashboard's data of /api/v1: checks 1, 2 and 33 of the tasks contract."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service

NAMES = {
    "web4ai_requests_total": "counter",
    "web4ai_tasks_total": "counter",
    "web4ai_node_failures_total": "counter",
    "web4ai_active_nodes": "gauge",
    "web4ai_pending_tasks": "gauge",
    "web4ai_network_utilization": "gauge",
    "web4ai_node_cpu_usage": "gauge",
    "web4ai_node_memory_usage": "gauge",
    "web4ai_task_duration_seconds": "histogram",
    "web4ai_api_response_time_seconds": "histogram",
    "web4ai_task_success_rate": "gauge",
}
POINT = {
    *("timestamp", "success_rate", "response_time", "network_utilization", "throughput", "active_nodes"),
    *("tasks_completed", "cpu_avg", "memory_avg", "gpu_avg"),
}


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20) as client,
    ):
        yield running, client


async def got(client: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def puller(client: httpx2.AsyncClient, node_id: str = "n", **body: Any) -> None:
    answer = await client.post(f"/nodes/{node_id}/register", json={"host": "h", "mode": "pull"} | body)
    assert answer.status_code == 200, answer.text


async def submitted(client: httpx2.AsyncClient, **body: Any) -> str:
    answer = await client.post("/tasks", json={"task_type": "t", "max_retries": 0} | body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


async def worked(client: httpx2.AsyncClient, node_id: str = "n", **report: Any) -> dict[str, Any]:
    """Takes one task and reports on it; the task as the node got it."""
    answer = await client.post(f"/nodes/{node_id}/tasks/pull", json={"limit": 1, "wait": 10})
    [task] = answer.json()["tasks"]
    told = {"status": "completed", "attempt": task["attempt"], "node_id": node_id} | report
    answer = await client.post(f"/tasks/{task['task_id']}/result", json=told)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = task
    return found


def metric(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).rpartition(" ")[2])


async def test_1_health_is_open_and_tells_of_the_machine(tmp_path: Path) -> None:
    config = {"auth": {"enabled": True, "keys": [{"name": "a", "key": "key-of-somebody-0123", "role": "viewer"}]}}
    async with api(tmp_path, **config) as (_, client):
        body = await got(client, "/health")
        assert (await client.get("/status")).status_code == 401
    assert body.keys() == {"status", "orchestrator_id", "timestamp", "version", "system"}
    assert body["status"] == "healthy"
    assert body["version"]
    for name in ("cpu_usage", "memory_usage", "disk_usage"):
        assert 0 <= body["system"][name] <= 100, name
    assert body["system"]["uptime"].startswith("0:00:")


async def test_2_status_counts_what_there_is(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        empty = await got(client, "/status")
        await puller(client, agents=[{"agent_id": "a"}], cpu_usage=30, memory_usage=50, load_score=0.4)
        await puller(client, "m")
        await client.put("/nodes/m/status", json={"status": "maintenance"})
        for _ in range(2):
            await submitted(client)
        await worked(client)
        await worked(client, status="failed", retryable=False, error_message="no")
        cancelled = await submitted(client, requirements={"capabilities": ["nobody"]})
        await submitted(client, requirements={"capabilities": ["nobody"]})
        await client.post(f"/tasks/{cancelled}/cancel")
        body = await got(client, "/status")
    assert empty["data"]["network_metrics"]["success_rate"] == 1.0
    assert empty["data"]["nodes"]["by_status"]["offline"] == 0
    assert empty["data"]["tasks"]["pending"] == 0
    data = body["data"]
    assert data["nodes"] == {
        "total": 2,
        "active": 1,
        "by_status": {"active": 1, "degraded": 0, "maintenance": 1, "offline": 0, "error": 0},
    }
    assert data["agents"] == {"total": 1, "by_node": {"n": 1}}
    assert data["tasks"] == {"pending": 1, "active": 0, "completed": 1, "failed": 1, "cancelled": 1}
    assert data["pending_tasks"] == body["pending_tasks"] == 1
    assert data["performance"]["avg_cpu_usage"] == 30
    network = data["network_metrics"]
    assert network["success_rate"] == 0.5
    assert network["throughput_per_minute"] == 1
    assert network["network_utilization"] == 0.4
    assert network["average_response_time"] > 0
    assert network["uptime"] < 60 < network["started_at"]
    assert body["api_stats"]["requests_total"] >= body["api_stats"]["requests_success"] >= 10
    assert body["network_metrics"] == network


async def test_sums_outlive_a_restart_and_what_happened_lately_does_not(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await puller(client)
        await submitted(client)
        await worked(client)
    async with api(tmp_path) as (_, client):
        network = (await got(client, "/status"))["data"]["network_metrics"]
    assert network["tasks_completed"] == 1
    assert network["throughput_per_minute"] == 0
    assert network["average_response_time"] == 0


async def test_metrics_in_json(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await puller(client, load_score=0.5, agents=[{"agent_id": "a", "tasks_running": 3, "efficiency_score": 0.5}])
        metrics = (await got(client, "/metrics"))["metrics"]
    assert metrics["nodes"]["avg_load_score"] == 0.5
    assert metrics["agents"] == {"total": 1, "active": 1, "avg_efficiency": 0.5, "avg_tasks_per_agent": 3.0}
    assert metrics["tasks"]["success_rate"] == 1.0
    assert metrics["load_balancer"] == {"algorithm": "weighted_round_robin", "node_weights": {"n": 0.5}}


async def test_recommendations_follow_the_load(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        assert (await got(client, "/metrics/performance"))["recommendations"] == []
        await puller(client, load_score=0.9)
        busy = await got(client, "/metrics/performance")
        await client.post("/nodes/n/heartbeat", json={"load_score": 0.1})
        idle = await got(client, "/metrics/performance")
    [advice] = busy["recommendations"]
    assert (advice["type"], advice["priority"]) == ("auto_scaling", "high")
    assert busy["performance_analysis"]["recommendations"] == busy["recommendations"]
    assert busy["performance"]["network_utilization"] == 0.9
    assert busy["performance"]["success_rate"] == 100.0
    assert [one["priority"] for one in idle["recommendations"]] == ["low"]


async def test_33_prometheus_has_the_eleven_names_and_they_move(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        await puller(client, cpu_usage=12)
        before = (await client.get("/metrics/prometheus")).text
        await submitted(client, requirements={"capabilities": ["nobody"]})
        await submitted(client)
        await worked(client)
        answer = await client.get("/metrics/prometheus")
        await client.get("/nowhere/at/all")
        await client.post("/nodes/n/heartbeat", json={"status": "error"})
        other = await client.get(running.url + "/metrics")
    after = answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    kinds = {line.split()[2]: line.split()[3] for line in after.splitlines() if line.startswith("# TYPE")}
    assert {name: kinds[name] for name in NAMES} == NAMES
    assert metric(before, "web4ai_pending_tasks") == 0
    assert metric(after, "web4ai_pending_tasks") == 1
    assert metric(after, "web4ai_active_nodes") == 1
    assert metric(after, "web4ai_task_success_rate") == 1.0
    assert metric(after, 'web4ai_tasks_total{status="completed",type="t"}') == 1
    assert metric(after, 'web4ai_task_duration_seconds_count{task_type="t"}') == 1
    assert metric(after, 'web4ai_node_cpu_usage{node_id="n"}') == 12
    assert metric(after, 'web4ai_requests_total{endpoint="/api/v1/tasks",method="POST",status="200"}') == 2
    assert metric(other.text, 'web4ai_requests_total{endpoint="unmatched",method="GET",status="404"}') == 1
    assert metric(other.text, 'web4ai_node_failures_total{node_id="n"}') == 1


async def test_stop_takes_nothing_in_and_start_goes_on_with_what_was_there(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await puller(client)
        waiting = await submitted(client)
        running = (await client.post("/control/start")).json()
        stopped = (await client.post("/control/stop")).json()
        again = (await client.post("/control/stop")).json()
        refused = await client.post("/tasks", json={"task_type": "t"})
        pulled = (await client.post("/nodes/n/tasks/pull", json={"wait": 0.2})).json()
        status = await got(client, "/status")
        nodes = await got(client, "/nodes")
        alerts = (await got(client, "/dashboard/alerts"))["alerts"]
        started = (await client.post("/control/start")).json()
        done = await worked(client)
        restarted = (await client.post("/control/restart")).json()
        await submitted(client)
    assert running["message"] == "Orchestrator already running"
    assert stopped["message"] == "Orchestrator stopped successfully"
    assert again["message"] == "Orchestrator not running"
    assert refused.status_code == 503
    assert refused.json()["error"] == "Orchestrator not started"
    assert refused.json()["details"]["code"] == "ORCHESTRATOR_NOT_STARTED"
    assert pulled["tasks"] == []
    assert status["data"]["tasks"]["pending"] == 1
    assert status["data"]["running"] is False
    assert nodes["nodes"]["n"]["status"] == "active"
    assert [one["id"] for one in alerts] == ["stopped"]
    assert started["message"] == "Orchestrator started successfully"
    assert started["orchestrator_id"] == "orchestrator"
    assert done["task_id"] == waiting
    assert restarted["message"] == "Orchestrator restarted successfully"


async def test_alerts_say_what_is_wrong_now(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        none = await got(client, "/dashboard/alerts")
        await puller(client, load_score=0.9)
        for _ in range(3):
            await submitted(client)
            await worked(client, status="failed", retryable=False, error_message="no")
        some = await got(client, "/dashboard/alerts")
    assert [(one["id"], one["severity"]) for one in none["alerts"]] == [("no_nodes", "critical")]
    assert {one["id"] for one in some["alerts"]} == {"low_success_rate", "high_utilization"}
    assert some["total_alerts"] == 2


async def test_the_dashboards_data(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await puller(client)
        await submitted(client, priority=2)
        await worked(client)
        await submitted(client, priority=1, requirements={"capabilities": ["nobody"]})
        config = (await got(client, "/dashboard/config"))["config"]
        nodes = await got(client, "/dashboard/nodes/detailed")
        history = await got(client, "/dashboard/performance/history")
        queue = await got(client, "/dashboard/tasks/queue")
        info = (await got(client, "/dashboard/system/info"))["system_info"]
        socket = (await got(client, "/websocket/info"))["websocket"]
        host = client.base_url.netloc.decode()
    assert config["orchestrator_url"] == f"http://{host}"
    assert config["websocket_url"] == socket["url"] == f"ws://{host}/api/v1/ws"
    assert nodes["total_nodes"] == 1
    assert {"network_latency", "metadata", "uptime_hours"} <= nodes["nodes"][0].keys()
    [point] = history["history"]
    assert point.keys() == POINT
    assert (point["tasks_completed"], point["success_rate"], point["active_nodes"]) == (1, 1.0, 1)
    [pending], [completed] = queue["queue"]["pending"], queue["queue"]["recent_completed"]
    assert (pending["priority"], pending["requirements"]) == ("CRITICAL", {"capabilities": ["nobody"]})
    assert completed["priority"] == "HIGH"
    assert queue["summary"]["pending_count"] == 1
    assert info["orchestrator"]["running"] is True
    assert info["system"]["cpu_count"] >= 1
    assert info["resources"]["network_connections"] >= 1
    assert (socket["enabled"], socket["connected_clients"], socket["max_connections"]) == (True, 0, 100)


async def test_history_has_as_many_points_as_were_kept(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        figures = running.service.figures
        for _ in range(3):
            figures.samples.append(await figures.sample())
        whole = await got(client, "/dashboard/performance/history")
        two = await got(client, "/dashboard/performance/history?limit=2")
        assert (await client.get("/dashboard/performance/history?limit=0")).status_code == 400
    assert whole["total_points"] == 4
    assert whole["history"][-2:][0] == two["history"][0]


@pytest.mark.parametrize(("form", "status", "error"), [("xml", 501, "Format implementation pending"), ("x", 400, "")])
async def test_other_forms_of_export(tmp_path: Path, form: str, status: int, error: str) -> None:
    async with api(tmp_path) as (_, client):
        answer = await client.get(f"/dashboard/export/{form}")
    assert answer.status_code == status
    assert answer.json()["error"] == (error or "Unsupported format")


async def test_export(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        await puller(client)
        whole = await got(client, "/dashboard/export/json")
        table = await client.get("/dashboard/export/csv")
    assert whole["export_format"] == "json"
    assert whole["data"]["nodes"]["n"]["status"] == "active"
    assert json.dumps(whole)
    assert table.headers["content-type"].startswith("text/csv")
    rows = dict(line.split(",") for line in table.text.splitlines())
    assert rows["metric"] == "value"
    assert (rows["active_nodes"], rows["tasks_completed"], rows["success_rate"]) == ("1", "0", "1.0")


async def test_every_answer_tells_how_long_it_took(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        for path in ("/status", "/nowhere", "/nodes/nobody"):
            assert (await client.get(path)).headers["x-response-time"].endswith("s")
