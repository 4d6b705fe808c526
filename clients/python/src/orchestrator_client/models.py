"""Tasks and nodes as the service tells them. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Self


class TaskPriority(IntEnum):
    """1 goes first."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BACKGROUND = 5


class TaskStatus(StrEnum):
    """`active` is what the service calls a task that is assigned or runs; `TaskResult.state` tells the two apart."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    ACTIVE = "active"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


FINISHED = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.TIMEOUT, TaskStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task now. `state` is the service's own, finer word: waiting, queued, retrying, assigned, running, and those of
    finished tasks. `progress` is 0 to 1. `raw` is all that the service said."""

    task_id: str
    status: TaskStatus
    result_data: Any = None
    execution_time: float | None = None
    error_message: str | None = None
    node_id: str | None = None
    agent_id: str | None = None
    task_type: str = ""
    state: str = ""
    attempt: int = 0
    retry_count: int = 0
    progress: float | None = None
    progress_message: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def ok(self) -> bool:
        return self.status is TaskStatus.COMPLETED

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(
            task_id=told["task_id"],
            status=TaskStatus(told["status"]),
            result_data=told.get("result_data"),
            execution_time=told.get("execution_time"),
            error_message=told.get("error_message"),
            node_id=told.get("node_id"),
            agent_id=told.get("agent_id"),
            task_type=told.get("task_type", ""),
            state=told.get("state", ""),
            attempt=told.get("attempt", 0),
            retry_count=told.get("retry_count", 0),
            progress=told.get("progress"),
            progress_message=told.get("progress_message"),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node. Usages in per cent, `load_score` 0 to 1. `raw` is all that the service said."""

    node_id: str
    host: str = ""
    port: int = 0
    node_type: str = ""
    status: str = ""
    capabilities: tuple[str, ...] = ()
    agents_count: int = 0
    cpu_usage: float = 0.0
    memory_usage: float = 0.0
    gpu_usage: float = 0.0
    load_score: float = 0.0
    last_heartbeat: float | None = None
    version: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(
            node_id=told["node_id"],
            host=told.get("host", ""),
            port=told.get("port", 0),
            node_type=told.get("node_type", ""),
            status=told.get("status", ""),
            capabilities=tuple(told.get("capabilities", ())),
            agents_count=told.get("agents_count", 0),
            cpu_usage=told.get("cpu_usage", 0.0),
            memory_usage=told.get("memory_usage", 0.0),
            gpu_usage=told.get("gpu_usage", 0.0),
            load_score=told.get("load_score", 0.0),
            last_heartbeat=told.get("last_heartbeat"),
            version=told.get("version", ""),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `type` such as task_completed, `data` what it concerns. `id` is what a follower gives to
    go on from here."""

    type: str
    data: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a handler wrote. `number` counts a task's lines from 1, `at` is in seconds since the epoch."""

    number: int
    at: float
    attempt: int
    message: str
    level: str = "info"

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(told["number"], told["at"], told["attempt"], told["message"], told.get("level", "info"))
