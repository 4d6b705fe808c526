"""A worker: a node that runs tasks. It registers itself, tells how it is by heartbeats, and is pushed to or pulls.

Everything here makes a new Worker from an old one; `worker_report` reads what a node sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.errors import Forbidden

TASK_PATH = "/api/tasks"
OLD_TASK_PATH = "/api/v4/tasks/execute"
ULTIMATE_AGENT = "ultimate_agent"  # a node type of the predecessor, which takes tasks at the older path
LOCAL_WORKER = "local"  # the id of the service's own worker
RESULTS_WEIGHT = 0.1  # of the newest result in `reliability` and `task_seconds`
LATENCY_WEIGHT = 0.2  # of the newest measurement in `network_latency`


class WorkerStatus(StrEnum):
    """Only an active worker is given tasks."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    OFFLINE = "offline"
    ERROR = "error"


class WorkerMode(StrEnum):
    """How tasks get to a worker."""

    PUSH = "push"
    PULL = "pull"
    LOCAL = "local"  # the service's own worker; nobody registers it


LOST = frozenset({WorkerStatus.OFFLINE, WorkerStatus.ERROR})  # what runs there is run again elsewhere
HOLDING = frozenset({WorkerStatus.DEGRADED, WorkerStatus.MAINTENANCE, WorkerStatus.ERROR})


@dataclass(frozen=True, slots=True)
class Agent:
    """One of the agents inside a worker, as the worker tells it."""

    id: str
    type: str = "generic"
    status: str = "active"
    capabilities: tuple[str, ...] = ()
    specialized_models: tuple[str, ...] = ()
    tasks_running: int = 0
    tasks_completed: int = 0
    efficiency_score: float = 1.0
    resource_usage: Mapping[str, Any] = field(default_factory=dict)
    last_activity: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Worker:
    """Usages in per cent, `load_score` 0 to 1, `network_latency` in ms, times in seconds since the epoch.

    `held` is the status that an operator gave it, which its heartbeats do not change. `slots` tasks run at a time;
    no `task_types` are all. `reliability` (0 to 1) and `task_seconds` are moving means over results. `up_since` is
    when it registered or came back. `owner` is the node's key that registered it, empty when it was another's.
    """

    id: str
    host: str = "localhost"
    port: int = 8080
    node_type: str = "worker"
    status: WorkerStatus = WorkerStatus.ACTIVE
    held: WorkerStatus | None = None
    mode: WorkerMode = WorkerMode.PUSH
    capabilities: frozenset[str] = frozenset()
    task_types: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int = 4
    agents: tuple[Agent, ...] = ()
    agents_count: int = 0  # as told by a worker that does not list its agents
    version: str = "1.0.0"
    location: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cpu_usage: float = 0.0
    memory_usage: float = 0.0
    gpu_usage: float = 0.0
    load_score: float = 0.0
    memory_mb: float | None = None
    network_latency: float = 0.0  # 0 until it is measured
    reliability: float = 1.0
    task_seconds: float = 0.0
    tasks_completed: int = 0
    tasks_failed: int = 0
    registered_at: float = 0.0
    up_since: float = 0.0
    heartbeat_at: float = 0.0
    owner: str = ""

    @property
    def active(self) -> bool:
        return self.status is WorkerStatus.ACTIVE

    @property
    def task_path(self) -> str:
        """Where a pushed task is posted to."""
        own = self.metadata.get("task_path")
        if isinstance(own, str) and own:
            return own
        return OLD_TASK_PATH if self.node_type == ULTIMATE_AGENT else TASK_PATH

    def takes(self, task_type: str) -> bool:
        return not self.task_types or task_type in self.task_types

    def reports_to(self, principal: Principal) -> bool:
        """Whether `principal` may speak for this worker: who registered it, and everybody but another node."""
        return principal.role is not Role.NODE or self.owner in ("", principal.id)


def foreign(node: str) -> Forbidden:
    """What somebody hears who may not speak for a worker."""
    return Forbidden(f"The node '{node}' was registered with another key.")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker tells now and then; None: nothing about that."""

    status: WorkerStatus | None = None
    cpu_usage: float | None = None
    memory_usage: float | None = None
    gpu_usage: float | None = None
    load_score: float | None = None
    memory_mb: float | None = None
    agents: tuple[Agent, ...] | None = None


def register(known: Worker | None, told: Worker) -> Worker:
    """The worker that registers as `told`. One that is known keeps its counters, what was measured, and the status
    that an operator gave it."""
    if known is None:
        return told
    return replace(
        told,
        status=known.held or WorkerStatus.ACTIVE,
        held=known.held,
        network_latency=known.network_latency,
        reliability=known.reliability,
        task_seconds=known.task_seconds,
        tasks_completed=known.tasks_completed,
        tasks_failed=known.tasks_failed,
        registered_at=known.registered_at,
        up_since=told.up_since if known.status in LOST else known.up_since,
        owner=known.owner or told.owner,
    )


def heartbeat(worker: Worker, told: Heartbeat, now: float) -> Worker:
    """The worker after a heartbeat. What an operator set stays; one that was offline is back."""
    status = _after(worker, told.status)
    given = {
        name: value
        for name in ("cpu_usage", "memory_usage", "gpu_usage", "load_score", "memory_mb", "agents")
        if (value := getattr(told, name)) is not None
    }
    back = worker.status in LOST and status not in LOST
    return replace(worker, **given, status=status, up_since=now if back else worker.up_since, heartbeat_at=now)


def _after(worker: Worker, told: WorkerStatus | None) -> WorkerStatus:
    if told in LOST:
        return told
    if worker.held is not None:
        return worker.held
    if told is not None:
        return told
    return WorkerStatus.ACTIVE if worker.status is WorkerStatus.OFFLINE else worker.status


def set_status(worker: Worker, status: WorkerStatus, now: float) -> Worker:
    """What an operator says: degraded, maintenance and error last until the operator says something else."""
    held = status if status in HOLDING else None
    back = worker.status in LOST and status not in LOST
    return replace(worker, status=status, held=held, up_since=now if back else worker.up_since)


def lost(worker: Worker) -> Worker:
    """The worker when its heartbeats have stayed away."""
    return replace(worker, status=WorkerStatus.OFFLINE)


def refreshed(known: Worker, worker: Worker) -> Worker:
    """`known` as it registered, with what changes all the time from `worker`."""
    return replace(
        known,
        status=worker.status,
        agents=worker.agents,
        cpu_usage=worker.cpu_usage,
        memory_usage=worker.memory_usage,
        gpu_usage=worker.gpu_usage,
        load_score=worker.load_score,
        memory_mb=worker.memory_mb,
        network_latency=worker.network_latency,
        reliability=worker.reliability,
        task_seconds=worker.task_seconds,
        tasks_completed=worker.tasks_completed,
        tasks_failed=worker.tasks_failed,
        up_since=worker.up_since,
        heartbeat_at=worker.heartbeat_at,
    )


def shared(mine: Worker, stored: Worker) -> Worker:
    """A worker of which this process has heard something that is not stored yet, when others may have changed how it is
    registered or what an operator says of it."""
    merged = refreshed(stored, mine)
    return merged if stored.held is mine.held else replace(merged, status=stored.status)


@dataclass(slots=True)
class Tally:
    """The numbers of a worker that every task changes: mutable, because there are thousands in a second."""

    completed: int
    failed: int
    reliability: float
    seconds: float
    latency: float

    @classmethod
    def of(cls, worker: Worker) -> Tally:
        return cls(
            worker.tasks_completed,
            worker.tasks_failed,
            worker.reliability,
            worker.task_seconds,
            worker.network_latency,
        )

    def finished(self, ok: bool, seconds: float) -> None:
        """Counts a result. The first one's time is taken as it is."""
        first = not self.completed and not self.failed
        if ok:
            self.completed += 1
        else:
            self.failed += 1
        self.reliability += RESULTS_WEIGHT * (ok - self.reliability)
        self.seconds = seconds if first else self.seconds + RESULTS_WEIGHT * (seconds - self.seconds)

    def measured(self, latency: float) -> None:
        """`latency` in ms: from the request to the worker's answer that it has the task."""
        self.latency = latency if not self.latency else self.latency + LATENCY_WEIGHT * (latency - self.latency)

    def onto(self, worker: Worker) -> Worker:
        """The worker with these numbers."""
        return replace(
            worker,
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            reliability=self.reliability,
            task_seconds=self.seconds,
            network_latency=self.latency,
        )
