"""All nodes in a few numbers: workers, and the model servers of the fleet beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.domain.node import AdminState
from orchestrator.domain.worker import Worker, WorkerStatus
from orchestrator.services.fleet.node import FleetNode


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """Means are over active workers, 0 without any: usages in per cent, latency in ms, utilization 0 to 1.
    `agents_active` are those that tell the status active, of nodes that are active."""

    total: int
    by_status: dict[str, int]
    agents: dict[str, int]  # by node
    agents_active: int
    agents_running: int  # tasks, as the agents tell
    efficiency: float | None  # mean of what the agents tell; None without any
    cpu: float
    memory: float
    gpu: float
    latency: float
    utilization: float

    @property
    def active(self) -> int:
        return self.by_status[WorkerStatus.ACTIVE.value]


def server_status(node: FleetNode) -> WorkerStatus:
    """A model server's state in the words of workers."""
    if node.spec.admin_state is not AdminState.ACTIVE:
        return WorkerStatus.MAINTENANCE
    return WorkerStatus.ACTIVE if node.healthy else WorkerStatus.OFFLINE


def node_figures(workers: Iterable[Worker], servers: Iterable[FleetNode]) -> NodeFigures:
    statuses = Counter({status.value: 0 for status in WorkerStatus})
    agents: dict[str, int] = {}
    active: list[Worker] = []
    for worker in workers:
        statuses[worker.status.value] += 1
        count = len(worker.agents) or worker.agents_count
        if count:
            agents[worker.id] = count
        if worker.active:
            active.append(worker)
    for server in servers:
        statuses[server_status(server).value] += 1
    told = [agent for worker in active for agent in worker.agents]
    measured = [worker.network_latency for worker in active if worker.network_latency]
    return NodeFigures(
        total=statuses.total(),
        by_status=dict(statuses),
        agents=agents,
        agents_active=sum(agent.status == "active" for agent in told),
        agents_running=sum(agent.tasks_running for agent in told),
        efficiency=mean([agent.efficiency_score for agent in told]) if told else None,
        cpu=mean([worker.cpu_usage for worker in active]),
        memory=mean([worker.memory_usage for worker in active]),
        gpu=mean([worker.gpu_usage for worker in active]),
        latency=mean(measured),
        utilization=mean([worker.load_score for worker in active]),
    )


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
