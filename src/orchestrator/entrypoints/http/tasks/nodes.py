"""Nodes: they register themselves and send heartbeats; operators look at them, take them out and back."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.worker import LOCAL_WORKER, WorkerStatus
from orchestrator.domain.worker_report import read_status
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, described, read_body, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.node_view import (
    registry_details,
    registry_row,
    server_details,
    server_row,
    worker_details,
    worker_row,
)

router = tasks_router("nodes")
READ, WRITE = requires(Permission.FLEET_READ), requires(Permission.FLEET_WRITE)
REPORT = requires(Permission.NODES_REPORT)

_USAGE = "Per cent; more than 100 counts as 100."
_HEARTBEAT = {
    "status": "active, degraded, maintenance, offline or error. Absent: as before; offline becomes active.",
    "cpu_usage": _USAGE,
    "memory_usage": _USAGE,
    "gpu_usage": _USAGE,
    "load_score": "0 to 1.",
    "memory_mb": "Memory of the machine in MB.",
    "agents": "All agents of the node: agent_id, agent_type, status, capabilities, specialized_models, ...",
    "running": "Ids of the tasks that the node has.",
}
_REGISTRATION = {
    "host": "Name or address that tasks are pushed to; localhost.",
    "port": "1 to 65535; 8080.",
    "node_type": "worker.",
    "mode": "push (tasks are posted to the node) or pull (the node asks for them); push.",
    "capabilities": "What the node can do: texts.",
    "task_types": "Types of tasks that it takes; none: all.",
    "labels": "Names and values that tasks can ask for.",
    "max_concurrency": "Tasks at a time, 1 to 1000; 4.",
    "memory_mb": "Memory of the machine in MB.",
    "agents_count": "For a node that does not list its agents.",
    "version": "1.0.0.",
    "location": "Free text.",
    "metadata": "Free; task_path is the path that tasks are posted to.",
    **{name: meaning for name, meaning in _HEARTBEAT.items() if name not in ("status", "running")},
}


@router.get("/nodes")
async def list_nodes(request: Request, principal: Principal = READ) -> Response:
    """All nodes by id: workers, model servers, those of the registry of tools, and the service itself where it runs
    tasks. Times in seconds since the epoch."""
    service = service_of(request)
    now = service.clock.wall()
    nodes: dict[str, Any] = {one.id: worker_row(one, now) for one in service.workers.current().values()}
    nodes |= {one.id: server_row(one) for one in service.fleet.nodes.values()}
    nodes = {one.id: registry_row(one) for one in await service.directory.own()} | nodes
    active = sum(node["status"] == WorkerStatus.ACTIVE.value for node in nodes.values())
    total = len(nodes)
    if service.local.worker is not None:  # shown, and not counted: it is not a node of anybody's
        nodes[LOCAL_WORKER] = worker_row(service.local.worker, now)
    return answer(request, {"nodes": nodes, "total_nodes": total, "active_nodes": active})


@router.get("/nodes/{node_id}")
async def get_node(request: Request, node_id: str, principal: Principal = READ) -> Response:
    """One node with its counters and agents. 404."""
    service = service_of(request)
    server = service.fleet.get(node_id)
    if server is not None:
        return answer(request, {"node": server_details(server)})
    service.workers.current()
    own = service.local.worker if node_id == LOCAL_WORKER else None
    if own is None and node_id not in service.workers.all():
        for one in await service.directory.own():
            if one.id == node_id:
                return answer(request, {"node": registry_details(one)})
    return answer(request, {"node": worker_details(own or service.workers.get(node_id), service.clock.wall())})


@router.post("/nodes/{node_id}/register", openapi_extra=described(_REGISTRATION))
async def register_node(request: Request, node_id: str, principal: Principal = REPORT) -> Response:
    """Adds a node, or takes over what a known one says anew: its counters stay.

    Answers with `heartbeat_interval` and `node_timeout` in seconds. 400 with `details.field` for a wrong field, 403
    for a node that another key of the role `node` registered, 409 for the id of a model server.
    """
    workers = service_of(request).workers
    body = await read_body(request)
    worker = await workers.register(node_id, body, principal)
    audit(principal, "node.register", node_id, host=worker.host, port=worker.port, mode=worker.mode.value)
    rules = workers.rules
    told = {"node_id": node_id, "heartbeat_interval": rules.heartbeat_interval, "node_timeout": rules.timeout}
    return answer(request, told, message=f"Node {node_id} registered successfully")


@router.post("/nodes/{node_id}/heartbeat", openapi_extra=described(_HEARTBEAT, required=False))
async def heartbeat(request: Request, node_id: str, principal: Principal = REPORT) -> Response:
    """A sign of life with usages. What an operator set stays; a node that was offline is active again.

    Answers with `cancel`: the attempts of tasks that the node should stop. They come with every heartbeat until the
    node reports, or says by `running`, here or when it asks for tasks, that it does not have them. 400, 403, 404.
    """
    workers = service_of(request).workers
    body = await read_body(request)
    workers.heartbeat(node_id, body, principal)
    running = body.get("running")
    if running is not None:
        if not isinstance(running, list) or not all(isinstance(one, str) for one in running):
            raise InvalidRequest("running: a list of ids", details={"field": "running"})
        service_of(request).tasks.running(node_id, running)
    cancel = [{"task_id": task, "attempt": attempt} for task, attempt in workers.to_cancel(node_id)]
    return answer(request, {"cancel": cancel}, message="Heartbeat updated")


@router.put("/nodes/{node_id}/status", openapi_extra=described({"status": _HEARTBEAT["status"]}))
async def set_status(request: Request, node_id: str, principal: Principal = WRITE) -> Response:
    """An operator's word on a node: only an active one gets tasks; offline and error run its tasks elsewhere.

    400 without a status or for a wrong one, 404, 409 for a model server.
    """
    body = await read_body(request)
    if not body.get("status"):
        raise InvalidRequest("Status required", details={"field": "status"})
    old, new = await service_of(request).workers.set_status(node_id, read_status(body["status"]))
    audit(principal, "node.status", node_id, old=old.value, new=new.value)
    told = {"old_status": old.value, "new_status": new.value}
    return answer(request, told, message=f"Node {node_id} status updated to {new.value}")


@router.post("/nodes/{node_id}/drain")
async def drain_node(request: Request, node_id: str, principal: Principal = WRITE) -> Response:
    """No new tasks, those that run may finish: maintenance until an operator sets the node active. 404, 409."""
    old, new = await service_of(request).workers.drain(node_id)
    audit(principal, "node.drain", node_id)
    told = {"old_status": old.value, "new_status": new.value}
    return answer(request, told, message=f"Node {node_id} is draining")


@router.delete("/nodes/{node_id}")
async def remove_node(request: Request, node_id: str, principal: Principal = WRITE) -> Response:
    """Forgets a node; its tasks run elsewhere. 404, 409 for a model server."""
    await service_of(request).workers.remove(node_id)
    audit(principal, "node.remove", node_id)
    return answer(request, {"node_id": node_id}, message=f"Node {node_id} unregistered successfully")
