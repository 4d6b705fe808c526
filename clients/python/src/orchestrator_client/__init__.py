"""Submit tasks to an Orchestrator (`Client`, `AsyncClient`) and run them (`Worker`)."""

from orchestrator_client.async_client import AsyncClient
from orchestrator_client.batch import BatchTaskManager, TaskBatch
from orchestrator_client.client import Client
from orchestrator_client.client import Client as Web4AIClient
from orchestrator_client.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    OrchestratorError,
    PartlyRefused,
    RateLimited,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from orchestrator_client.executor import ExecutorUnavailable
from orchestrator_client.handlers import Cancelled, Permanent, TaskContext
from orchestrator_client.models import FINISHED, Event, LogLine, NodeInfo, TaskPriority, TaskResult, TaskStatus
from orchestrator_client.ray_cluster import RayCluster
from orchestrator_client.worker import Worker

__all__ = [
    "FINISHED",
    "AsyncClient",
    "BadRequest",
    "BatchTaskManager",
    "Cancelled",
    "Client",
    "Conflict",
    "Event",
    "ExecutorUnavailable",
    "Forbidden",
    "LogLine",
    "NodeInfo",
    "NotFound",
    "OrchestratorError",
    "PartlyRefused",
    "Permanent",
    "RateLimited",
    "RayCluster",
    "ServiceError",
    "TaskBatch",
    "TaskContext",
    "TaskPriority",
    "TaskResult",
    "TaskStatus",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "WaitTimeout",
    "Web4AIClient",
    "Worker",
]
