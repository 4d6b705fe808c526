"""Submit tasks to an Orchestrator and call its tools (`Client`, `AsyncClient`); run tasks (`Worker`)."""

from orchestrator_client.async_client import AsyncClient
from orchestrator_client.batch import BatchTaskManager, TaskBatch
from orchestrator_client.client import Client
from orchestrator_client.client import Client as Web4AIClient
from orchestrator_client.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidArguments,
    NotAvailable,
    NotFound,
    OrchestratorError,
    PartlyRefused,
    RateLimited,
    ServiceError,
    ToolCallFailed,
    Unauthenticated,
    Unavailable,
    Unreachable,
    WaitTimeout,
)
from orchestrator_client.executor import ExecutorUnavailable
from orchestrator_client.handlers import Cancelled, Permanent, TaskContext
from orchestrator_client.models import FINISHED, Event, LogLine, NodeInfo, TaskPriority, TaskResult, TaskStatus
from orchestrator_client.ray_cluster import RayCluster
from orchestrator_client.tool_models import CallState, SearchHit, ToolCall, ToolError, ToolInfo
from orchestrator_client.worker import Worker

__all__ = [
    "FINISHED",
    "AsyncClient",
    "BadRequest",
    "BatchTaskManager",
    "CallState",
    "Cancelled",
    "Client",
    "Conflict",
    "Event",
    "ExecutorUnavailable",
    "Forbidden",
    "InvalidArguments",
    "LogLine",
    "NodeInfo",
    "NotAvailable",
    "NotFound",
    "OrchestratorError",
    "PartlyRefused",
    "Permanent",
    "RateLimited",
    "RayCluster",
    "SearchHit",
    "ServiceError",
    "TaskBatch",
    "TaskContext",
    "TaskPriority",
    "TaskResult",
    "TaskStatus",
    "ToolCall",
    "ToolCallFailed",
    "ToolError",
    "ToolInfo",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "WaitTimeout",
    "Web4AIClient",
    "Worker",
]
