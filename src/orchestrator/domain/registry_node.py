"""A node as the registry of tools shows it: any worker, model server or MCP server of this service, or one that only
the registry knows. Each has a UUID beside its own id; a node that only the registry knows has its UUID as its id.

    registry        worker                      model server                    MCP server
    ACTIVE          active, degraded            healthy, takes traffic          connected
    INACTIVE        offline                     does not answer                 not connected yet
    MAINTENANCE     maintenance                 draining or in maintenance      -
    ERROR           error                       -                               the connection failed
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.domain.worker import Worker, WorkerMode, WorkerStatus

STEP = 1e-6  # seconds: a change is at least so much newer than what it changes


class RegistryNodeType(StrEnum):
    TOOL_EXECUTOR = "TOOL_EXECUTOR"
    OBSERVATION_NODE = "OBSERVATION_NODE"
    ANALYSIS_NODE = "ANALYSIS_NODE"
    STORAGE_NODE = "STORAGE_NODE"


class RegistryStatus(StrEnum):
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    MAINTENANCE = "MAINTENANCE"
    ERROR = "ERROR"


class RegistrySource(StrEnum):
    """Where a node is registered, and so where its status comes from."""

    REGISTRY = "registry"
    WORKER = "worker"
    SERVER = "server"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class RegistryNode:
    """Times in seconds since the epoch. `id` is the node's own id on the other surfaces."""

    node_id: str
    node_type: RegistryNodeType
    address: str
    status: RegistryStatus = RegistryStatus.INACTIVE
    id: str = ""
    source: RegistrySource = RegistrySource.REGISTRY
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SeenNode:
    """A worker or model server as it is now."""

    id: str
    source: RegistrySource
    node_type: RegistryNodeType  # of a node that the registry sees for the first time
    address: str
    status: RegistryStatus


OF_WORKER = {
    WorkerStatus.ACTIVE: RegistryStatus.ACTIVE,
    WorkerStatus.DEGRADED: RegistryStatus.ACTIVE,
    WorkerStatus.OFFLINE: RegistryStatus.INACTIVE,
    WorkerStatus.MAINTENANCE: RegistryStatus.MAINTENANCE,
    WorkerStatus.ERROR: RegistryStatus.ERROR,
}
TO_WORKER = {
    RegistryStatus.ACTIVE: WorkerStatus.ACTIVE,
    RegistryStatus.INACTIVE: WorkerStatus.OFFLINE,
    RegistryStatus.MAINTENANCE: WorkerStatus.MAINTENANCE,
    RegistryStatus.ERROR: WorkerStatus.ERROR,
}


def seen_worker(worker: Worker) -> SeenNode:
    """A worker's own type counts where it is one of the registry's."""
    name = worker.node_type.upper()
    known = name in RegistryNodeType.__members__
    host = f"[{worker.host}]" if ":" in worker.host else worker.host
    pulls = worker.mode is WorkerMode.PULL
    return SeenNode(
        worker.id,
        RegistrySource.WORKER,
        RegistryNodeType(name) if known else RegistryNodeType.TOOL_EXECUTOR,
        f"pull:{worker.id}" if pulls else f"http://{host}:{worker.port}",
        OF_WORKER[worker.status],
    )


def changed(
    node: RegistryNode,
    now: float,
    *,
    node_type: RegistryNodeType | None = None,
    address: str | None = None,
    status: RegistryStatus | None = None,
) -> RegistryNode:
    """The node after a change; None: as it is."""
    return replace(
        node,
        node_type=node_type or node.node_type,
        address=node.address if address is None else address,
        status=status or node.status,
        updated_at=max(now, node.updated_at + STEP),
    )
