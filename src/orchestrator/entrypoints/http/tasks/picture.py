"""Nodes, agents and tasks of one moment, as /status, /metrics, the dashboard and the WebSocket show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.task.state import TaskState
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.task_view import LISTS
from orchestrator.ports.ledger import Counts
from orchestrator.services.tasks.figures import Figures, Lately, Sample
from orchestrator.services.tasks.node_figures import NodeFigures

FEW = 3  # tasks below which nothing is said about the part that fails


async def status(service: HttpService) -> dict[str, Any]:
    """`data` of GET /status. `tasks.completed` and `failed` are all that ever ended so, which outlives a restart."""
    service.workers.current()
    counts, nodes = await service.tasks.counts(), service.figures.nodes()
    now, tasks = service.clock.wall(), task_counts(counts)
    return {
        "orchestrator_id": service.settings.tasks.orchestrator_id,
        "running": not service.tasks.stopped,
        "timestamp": now,
        "uptime": now - service.started_at,
        "started_at": service.started_at,
        "network_metrics": network(service, nodes, counts),
        "nodes": {"total": nodes.total, "active": nodes.active, "by_status": nodes.by_status},
        "agents": {"total": sum(nodes.agents.values()), "by_node": nodes.agents},
        "tasks": tasks,
        "performance": {
            "avg_cpu_usage": nodes.cpu,
            "avg_memory_usage": nodes.memory,
            "avg_network_latency": nodes.latency,
            "network_utilization": nodes.utilization,
        },
        **{f"{name}_tasks": count for name, count in tasks.items()},
    }


def network(service: HttpService, nodes: NodeFigures, counts: Counts) -> dict[str, Any]:
    """`average_response_time` (ms) and `throughput_per_minute` are of the last five minutes and of the last one,
    `success_rate` of all time; 1.0 before anything has ended."""
    tasks, lately = task_counts(counts), service.figures.lately()
    return {
        "total_nodes": nodes.total,
        "active_nodes": nodes.active,
        "total_agents": sum(nodes.agents.values()),
        "tasks_completed": tasks["completed"],
        "tasks_failed": tasks["failed"],
        "average_response_time": lately.response_time or 0.0,
        "network_utilization": nodes.utilization,
        "uptime": service.clock.epoch - service.started_at,
        "started_at": service.started_at,
        "throughput_per_minute": lately.per_minute,
        "success_rate": success_rate(counts),
    }


def task_counts(counts: Counts) -> dict[str, int]:
    """What waits and runs now; what completed and failed ever. A cancelled task did not fail."""
    ended = counts.ended
    return {
        "pending": sum(counts.now.get(state, 0) for state in LISTS["pending"]),
        "active": sum(counts.now.get(state, 0) for state in LISTS["active"]),
        "completed": ended.get(TaskState.COMPLETED, 0),
        "failed": ended.get(TaskState.FAILED, 0) + ended.get(TaskState.TIMEOUT, 0),
        "cancelled": ended.get(TaskState.CANCELLED, 0),
    }


def success_rate(counts: Counts) -> float:
    tasks = task_counts(counts)
    ended = tasks["completed"] + tasks["failed"]
    return tasks["completed"] / ended if ended else 1.0


def api_stats(service: HttpService) -> dict[str, Any]:
    api = service.figures.api
    return {
        "requests_total": api.total,
        "requests_success": api.total - api.errors,
        "requests_error": api.errors,
        "start_time": iso(service.started_at),
    }


def history_point(sample: Sample) -> dict[str, Any]:
    """`success_rate` and `response_time` of the five minutes before, null where nothing had ended."""
    lately, nodes = sample.lately, sample.nodes
    return {
        "timestamp": iso(sample.at),
        "success_rate": lately.success_rate,
        "response_time": lately.response_time,
        "network_utilization": nodes.utilization,
        "throughput": lately.per_minute,
        "active_nodes": nodes.active,
        "tasks_completed": sample.tasks_completed,
        "cpu_avg": nodes.cpu,
        "memory_avg": nodes.memory,
        "gpu_avg": nodes.gpu,
    }


def recommendations(service: HttpService, nodes: NodeFigures, lately: Lately) -> list[dict[str, Any]]:
    """What the load suggests. Nothing is suggested for a fleet without workers."""
    workers = [worker for worker in service.workers.all().values() if worker.active]
    found: list[dict[str, Any]] = []
    if workers and nodes.utilization > 0.8:
        text = f"The nodes are used to {nodes.utilization:.0%}: add nodes."
        found.append(_advice("auto_scaling", "high", text, current=nodes.utilization, target=0.8, action="scale_up"))
    elif workers and nodes.utilization < 0.2:
        text = f"The nodes are used to {nodes.utilization:.0%}: fewer would do."
        found.append(_advice("auto_scaling", "low", text, current=nodes.utilization, target=0.2, action="scale_down"))
    if lately.response_time is not None and lately.response_time > 5000:
        text = f"Tasks take {lately.response_time:.0f} ms on average: spread the load."
        details = {
            "overloaded_nodes": sorted(worker.id for worker in workers if worker.load_score > 0.8),
            "underloaded_nodes": sorted(worker.id for worker in workers if worker.load_score < 0.2),
        }
        found.append(_advice("load_rebalancing", "medium", text, current=lately.response_time, target=5000, **details))
    return found


def alerts(service: HttpService, figures: Figures) -> list[dict[str, Any]]:
    """What is wrong now."""
    nodes, lately, at = figures.nodes(), figures.lately(), iso(service.clock.wall())
    found: list[tuple[str, str, str, str]] = []
    if not nodes.active:
        found.append(("no_nodes", "critical", "No active nodes", "No node takes tasks."))
    rate = lately.success_rate
    if rate is not None and rate < 0.9 and lately.completed + lately.failed >= FEW:
        found.append(("low_success_rate", "warning", "Low success rate", f"{rate:.1%} in the last five minutes."))
    if lately.response_time is not None and lately.response_time > 5000:
        text = f"{lately.response_time:.0f} ms on average in the last five minutes."
        found.append(("high_response_time", "warning", "High response time", text))
    if nodes.utilization > 0.85:
        found.append(("high_utilization", "warning", "High utilization", f"{nodes.utilization:.1%} of the nodes."))
    if service.tasks.stopped:
        found.append(("stopped", "warning", "Scheduling is stopped", "No tasks are taken in or handed out."))
    return [
        {"id": name, "type": name, "severity": severity, "title": title, "message": message, "timestamp": at}
        for name, severity, title, message in found
    ]


def iso(at: float) -> str:
    """Seconds since the epoch in RFC 3339, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _advice(kind: str, priority: str, text: str, **details: Any) -> dict[str, Any]:
    return {"type": kind, "priority": priority, "description": text, "details": details}
