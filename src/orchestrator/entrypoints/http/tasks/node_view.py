"""Nodes as /api/v1 shows them: workers, and the model servers of the fleet beside them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.registry_node import TO_WORKER, RegistryNode
from orchestrator.domain.worker import Agent, Worker, WorkerStatus
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.tasks.node_figures import server_status

INFERENCE = "inference"
REGISTRY = "registry"  # the mode of nodes that only the registry of tools knows


def worker_row(worker: Worker, now: float) -> dict[str, Any]:
    """A worker in a list. `uptime` in seconds since it registered or came back, 0 while it is offline."""
    up = worker.status is not WorkerStatus.OFFLINE
    return {
        "node_id": worker.id,
        "host": worker.host,
        "port": worker.port,
        "node_type": worker.node_type,
        "status": worker.status.value,
        "capabilities": sorted(worker.capabilities),
        "agents_count": len(worker.agents) or worker.agents_count,
        "cpu_usage": worker.cpu_usage,
        "memory_usage": worker.memory_usage,
        "gpu_usage": worker.gpu_usage,
        "load_score": worker.load_score,
        "last_heartbeat": worker.heartbeat_at,
        "version": worker.version,
        "location": worker.location,
        "uptime": max(0.0, now - worker.up_since) if up else 0.0,
        "mode": worker.mode.value,
        "max_concurrency": worker.slots,
    }


def worker_details(worker: Worker, now: float) -> dict[str, Any]:
    """One worker. `network_latency` in ms, 0 until it is measured."""
    return {
        **worker_row(worker, now),
        "reliability_score": worker.reliability,
        "network_latency": worker.network_latency,
        "tasks_completed": worker.tasks_completed,
        "tasks_failed": worker.tasks_failed,
        "average_task_time": worker.task_seconds,
        "task_types": sorted(worker.task_types),
        "labels": dict(worker.labels),
        "memory_mb": worker.memory_mb,
        "metadata": dict(worker.metadata),
        "registered_at": worker.registered_at,
        "held_by_operator": worker.held is not None,
        "agents": [agent_row(agent, worker) for agent in worker.agents],
    }


def agent_row(agent: Agent, worker: Worker) -> dict[str, Any]:
    return {
        "agent_id": agent.id,
        "node_id": worker.id,
        "agent_type": agent.type,
        "status": agent.status,
        "capabilities": list(agent.capabilities),
        "tasks_running": agent.tasks_running,
        "tasks_completed": agent.tasks_completed,
        "efficiency_score": agent.efficiency_score,
        "specialized_models": list(agent.specialized_models),
        "resource_usage": dict(agent.resource_usage),
        "last_activity": agent.last_activity,
    }


def server_row(node: FleetNode) -> dict[str, Any]:
    """A model server in the same form. It tells no usages; its load is the part of its places that is taken."""
    spec, report = node.spec, node.report
    known = {word for entry in node.entries() for word in entry.capabilities}
    return {
        "node_id": node.id,
        "host": node.target.host,
        "port": node.target.port,
        "node_type": spec.kind.value,
        "status": server_status(node).value,
        "capabilities": [INFERENCE, *sorted(known - {INFERENCE})],
        "agents_count": 0,
        "cpu_usage": 0.0,
        "memory_usage": 0.0,
        "gpu_usage": 0.0,
        "load_score": min(1.0, node.state.in_flight / spec.max_concurrency),
        "last_heartbeat": node.probed_at,
        "version": report.version if report is not None else "",
        "location": None,
        "uptime": 0.0,
        "mode": "model_server",
        "max_concurrency": spec.max_concurrency,
    }


def server_details(node: FleetNode) -> dict[str, Any]:
    traffic = [pair.traffic for pair in node.pairs.values()]
    requests, errors = sum(one.requests for one in traffic), sum(one.errors for one in traffic)
    report = node.report
    return {
        **server_row(node),
        "reliability_score": 1.0 - errors / requests if requests else 1.0,
        "network_latency": report.latency_ms if report is not None else 0.0,
        "tasks_completed": requests - errors,
        "tasks_failed": errors,
        "task_types": [],
        "labels": dict(node.spec.labels),
        "memory_mb": None,
        "metadata": {"models": [entry.name for entry in node.entries()]},
        "agents": [],
    }


def registry_row(node: RegistryNode) -> dict[str, Any]:
    """A node that only the registry of tools knows, in the same form: it takes no tasks and tells nothing."""
    host, port = _place(node.address)
    return {
        "node_id": node.id,
        "host": host,
        "port": port,
        "node_type": node.node_type.value,
        "status": TO_WORKER[node.status].value,
        "capabilities": [],
        "agents_count": 0,
        "cpu_usage": 0.0,
        "memory_usage": 0.0,
        "gpu_usage": 0.0,
        "load_score": 0.0,
        "last_heartbeat": 0.0,
        "version": "",
        "location": None,
        "uptime": 0.0,
        "mode": REGISTRY,
        "max_concurrency": 0,
    }


def registry_details(node: RegistryNode) -> dict[str, Any]:
    return {
        **registry_row(node),
        "reliability_score": 1.0,
        "network_latency": 0.0,
        "tasks_completed": 0,
        "tasks_failed": 0,
        "task_types": [],
        "labels": {},
        "memory_mb": None,
        "metadata": {"address": node.address},
        "registered_at": node.created_at,
        "agents": [],
    }


def _place(address: str) -> tuple[str, int]:
    """Host and port of an address, which may be any text."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        return parts.hostname or address, parts.port or 0
    except ValueError:
        return address, 0
