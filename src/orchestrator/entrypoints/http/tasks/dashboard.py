"""What a dashboard shows: true figures in the shapes that the predecessor's pages read."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, OrchestratorError
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, now_text, refusal, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.node_view import server_details, worker_details
from orchestrator.entrypoints.http.tasks.picture import alerts, history_point, status
from orchestrator.entrypoints.http.tasks.socket_port import SOCKET
from orchestrator.entrypoints.http.tasks.task_view import LISTS, NO_FIELDS, PRIORITY_NAMES, as_sent, item, summary
from orchestrator.ports.ledger import TaskQuery
from orchestrator.services.tasks.figures import KEPT

router = tasks_router("dashboard")
FLEET, TASKS = requires(Permission.FLEET_READ), requires(Permission.TASKS_READ)
HEALTH = requires(Permission.HEALTH_READ)
REFRESH = 5_000  # ms
SHOWN = 10  # tasks of each list


@router.get("/dashboard/config")
async def dashboard_config(request: Request, principal: Principal = FLEET) -> Response:
    """Where this service is, as the caller called it; `refresh_interval` in ms."""
    config = {
        "orchestrator_url": f"{request.url.scheme}://{_host(request)}",
        "websocket_url": _socket_url(request),
        "refresh_interval": REFRESH,
        "auto_refresh": True,
        "theme": "auto",
    }
    return answer(request, {"config": config})


@router.get("/dashboard/alerts")
async def dashboard_alerts(request: Request, principal: Principal = FLEET) -> Response:
    """What is wrong now: no_nodes, low_success_rate (below 0.9), high_response_time (over 5000 ms), high_utilization
    (over 0.85) and stopped."""
    service = service_of(request)
    found = alerts(service, service.figures)
    return answer(request, {"alerts": found, "total_alerts": len(found)})


@router.get("/dashboard/nodes/detailed")
async def nodes_detailed(request: Request, principal: Principal = FLEET) -> Response:
    """Everything about every node, as a list."""
    service = service_of(request)
    now = service.clock.wall()
    nodes = [worker_details(worker, now) for worker in service.workers.current().values()]
    nodes += [server_details(node) for node in service.fleet.nodes.values()]
    for node in nodes:
        node["uptime_hours"] = node["uptime"] / 3600.0
    return answer(request, {"nodes": nodes, "total_nodes": len(nodes)})


@router.get("/dashboard/performance/history")
async def performance_history(
    request: Request, limit: Annotated[int, Query(ge=1, le=KEPT)] = 60, principal: Principal = FLEET
) -> Response:
    """The latest points, one a minute and the last one of now; at most a day, and since the start of this process."""
    points = [history_point(sample) for sample in await service_of(request).figures.history(limit)]
    return answer(request, {"history": points, "total_points": len(points)})


@router.get("/dashboard/tasks/queue")
async def tasks_queue(request: Request, principal: Principal = TASKS) -> Response:
    """The newest ten of each list, and how many there are; priorities by name."""
    tasks = service_of(request).tasks
    names = {"pending": "pending", "active": "active", "recent_completed": "completed", "recent_failed": "failed"}
    queue: dict[str, Any] = {}
    for name, listed in names.items():
        page = await tasks.page(TaskQuery(LISTS[listed], limit=SHOWN))
        queue[name] = [_queued(task) for task in page]
    return answer(request, {"queue": queue, "summary": summary(await tasks.counts())})


@router.get("/dashboard/system/info")
async def system_info(request: Request, principal: Principal = HEALTH) -> Response:
    """This process and its machine. Sizes in bytes, usages in per cent, `uptime` in seconds."""
    service = service_of(request)
    machine = service.machine
    facts, usage = machine.facts(), machine.usage()
    info = {
        "orchestrator": {
            "id": service.settings.tasks.orchestrator_id,
            "version": __version__,
            "uptime": service.clock.wall() - service.started_at,
            "running": not service.tasks.stopped,
        },
        "system": {
            "platform": facts.platform,
            "platform_version": facts.platform_version,
            "python_version": facts.python_version,
            "cpu_count": facts.cpu_count,
            "memory_total": facts.memory_total,
            "disk_total": facts.disk_total,
            "hostname": facts.hostname,
        },
        "resources": {
            "cpu_percent": usage.cpu,
            "memory_percent": usage.memory,
            "disk_percent": usage.disk,
            "network_connections": await asyncio.to_thread(machine.connections),
        },
    }
    return answer(request, {"system_info": info})


@router.get("/dashboard/export/{export_format}")
async def export(request: Request, export_format: str, principal: Principal = FLEET) -> Response:
    """The status as json or csv (metric, value). 501 for xml, 400 for anything else."""
    service = service_of(request)
    if export_format == "xml":
        error = OrchestratorError("Format implementation pending", details={"code": "NOT_IMPLEMENTED"})
        body = msgspec.json.encode(refusal(error, now_text(request)))
        return Response(body, 501, media_type="application/json")
    if export_format not in ("json", "csv"):
        raise InvalidRequest("Unsupported format", details={"field": "format", "formats": ["json", "csv"]})
    found = await status(service)
    if export_format == "json":
        nodes = {worker.id: worker_details(worker, found["timestamp"]) for worker in service.workers.all().values()}
        nodes |= {node.id: server_details(node) for node in service.fleet.nodes.values()}
        whole = {"success": True, "data": {"status": found, "nodes": nodes}, "export_format": "json"}
        return Response(msgspec.json.encode({**whole, "timestamp": now_text(request)}), media_type="application/json")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("metric", "value"))
    writer.writerows(found["network_metrics"].items())
    headers = {"Content-Disposition": 'attachment; filename="orchestrator.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


@router.get("/websocket/info")
async def websocket_info(request: Request, principal: Principal = TASKS) -> Response:
    """Where the events are followed by WebSocket, and how many do so now in this process."""
    service = service_of(request)
    info = {
        "enabled": service.settings.tasks.websocket_max > 0,
        "url": _socket_url(request),
        "connected_clients": service.bulletin.followers["websocket"],
        "max_connections": service.settings.tasks.websocket_max,
    }
    return answer(request, {"websocket": info})


def _queued(task: Task) -> dict[str, Any]:
    row = {**item(task), "priority": PRIORITY_NAMES[task.spec.priority]}
    if task.state in (TaskState.WAITING, TaskState.QUEUED, TaskState.RETRYING):
        row["requirements"] = as_sent(task.spec.requirements, NO_FIELDS)
    return row


def _host(request: Request) -> str:
    """As the caller called us; the guard has checked that it is one of our names."""
    return request.headers.get("host", "")


def _socket_url(request: Request) -> str:
    """The own port, where there is one."""
    scheme, port = "wss" if request.url.scheme == "https" else "ws", service_of(request).settings.tasks.websocket_port
    if not port:
        return f"{scheme}://{_host(request)}{SOCKET}"
    host = request.url.hostname or ""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
