"""How the orchestrator is, its numbers, and the switch for scheduling."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from fastapi import Request, Response

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import NotFound
from orchestrator.domain.worker import LOCAL_WORKER
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import answer, now_text, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.picture import (
    api_stats,
    iso,
    network,
    recommendations,
    status,
    success_rate,
    task_counts,
)
from orchestrator.services.tasks.node_figures import mean

router = tasks_router("overview")
READ, WRITE = requires(Permission.FLEET_READ), requires(Permission.TASKS_WRITE)
METRICS = requires(Permission.METRICS_READ)


@router.get("/health")
async def health(request: Request) -> Response:
    """Open to everybody. Usages of this machine in per cent, `uptime` as h:mm:ss. 200 while the process lives."""
    service = service_of(request)
    usage, timestamp = service.machine.usage(), now_text(request)
    body = {
        "status": "healthy",
        "orchestrator_id": service.settings.tasks.orchestrator_id,
        "timestamp": timestamp,
        "version": __version__,
        "system": {
            "cpu_usage": usage.cpu,
            "memory_usage": usage.memory,
            "disk_usage": usage.disk,
            "uptime": str(timedelta(seconds=service.clock.epoch - service.started_at)),
        },
    }
    return Response(msgspec.json.encode(body), media_type="application/json")


@router.get("/status")
async def get_status(request: Request, principal: Principal = READ) -> Response:
    """Nodes, agents and tasks by their states, and how well it goes. Times in seconds, response times in ms."""
    service = service_of(request)
    return answer(request, {**await status(service), "api_stats": api_stats(service)})


@router.get("/metrics")
async def metrics(request: Request, principal: Principal = METRICS) -> Response:
    """The same as numbers only, with the policy in force and the weights of nodes in turns by weight."""
    service = service_of(request)
    service.workers.current()
    counts, nodes = await service.tasks.counts(), service.figures.nodes()
    tasks, workers = task_counts(counts), service.workers.all().values()
    total = sum(nodes.agents.values())
    seats = service.scheduler.seats
    named = {
        "timestamp": iso(service.clock.wall()),
        "network": network(service, nodes, counts),
        "nodes": {
            "total": nodes.total,
            "active": nodes.active,
            "avg_cpu_usage": nodes.cpu,
            "avg_memory_usage": nodes.memory,
            "avg_load_score": mean([worker.load_score for worker in workers if worker.active]),
        },
        "agents": {
            "total": total,
            "active": nodes.agents_active,
            "avg_efficiency": nodes.efficiency,
            "avg_tasks_per_agent": nodes.agents_running / nodes.agents_active if nodes.agents_active else 0.0,
        },
        "tasks": {
            "pending": tasks["pending"],
            "active": tasks["active"],
            "completed_total": tasks["completed"],
            "failed_total": tasks["failed"],
            "cancelled_total": tasks["cancelled"],
            "success_rate": success_rate(counts),
        },
        "api": api_stats(service),
        "load_balancer": {
            "algorithm": seats.placement.policy,
            "node_weights": {name: seat.weight for name, seat in seats.by_id.items() if name != LOCAL_WORKER},
        },
    }
    return answer(request, {"metrics": named})


@router.get("/metrics/performance")
async def performance(request: Request, principal: Principal = METRICS) -> Response:
    """The load and what it suggests. `success_rate` in per cent, 100 before anything has ended."""
    service = service_of(request)
    counts, nodes, lately = await service.tasks.counts(), service.figures.nodes(), service.figures.lately()
    advice = recommendations(service, nodes, lately)
    named = {
        "performance_analysis": {
            "timestamp": iso(service.clock.wall()),
            "network_utilization": nodes.utilization,
            "avg_response_time": lately.response_time or 0.0,
            "task_throughput": lately.per_minute,
            "recommendations": advice,
        },
        "recommendations": advice,
        "performance": {
            "network_utilization": nodes.utilization,
            "average_cpu_usage": nodes.cpu,
            "average_memory_usage": nodes.memory,
            "average_network_latency": nodes.latency,
            "total_nodes": nodes.total,
            "active_nodes": nodes.active,
            "task_throughput": lately.per_minute,
            "success_rate": 100.0 * success_rate(counts),
        },
    }
    return answer(request, named)


@router.get("/metrics/prometheus", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus(request: Request, principal: Principal = METRICS) -> Response:
    """Every metric of the reference, as GET /metrics gives them. 404 when `metrics.enabled` is false."""
    service = service_of(request)
    if not service.settings.metrics.enabled:
        raise NotFound("Metrics are switched off (metrics.enabled).")
    content_type, body = await service.metrics.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


@router.post("/control/start")
async def start(request: Request, principal: Principal = WRITE) -> Response:
    """Goes on after a stop: nodes and tasks are as they were."""
    service = service_of(request)
    changed = await service.switches.start_tasks()
    message = "Orchestrator started successfully" if changed else "Orchestrator already running"
    return _switched(request, principal, "start", message, changed)


@router.post("/control/stop")
async def stop(request: Request, principal: Principal = WRITE) -> Response:
    """Takes no tasks in and hands none out until a start, in every process on the database, also after it was begun
    anew. What runs goes on, nodes are not told, and everything can be read."""
    service = service_of(request)
    changed = await service.switches.stop_tasks()
    message = "Orchestrator stopped successfully" if changed else "Orchestrator not running"
    return _switched(request, principal, "stop", message, changed)


@router.post("/control/restart")
async def restart(request: Request, principal: Principal = WRITE) -> Response:
    """The same as a stop and a start."""
    service = service_of(request)
    service.tasks.stop()
    await service.switches.start_tasks()
    return _switched(request, principal, "restart", "Orchestrator restarted successfully", True)


def _switched(request: Request, principal: Principal, what: str, message: str, changed: bool) -> Response:
    service: HttpService = service_of(request)
    if changed:
        audit(principal, f"control.{what}", "")
    named: dict[str, Any] = {
        "orchestrator_id": service.settings.tasks.orchestrator_id,
        "running": not service.tasks.stopped,
    }
    return answer(request, named, message=message)
