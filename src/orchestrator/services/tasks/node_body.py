"""A task as nodes get it, and what they report (tasks contract 1.6)."""

from __future__ import annotations

from typing import Any

import msgspec


class WireTask(msgspec.Struct):
    """What a node is sent: the contract's seven fields, then ours. `attempt` is named in every report on the task."""

    task_id: str
    task_type: str
    priority: int
    requirements: msgspec.Raw
    input_data: msgspec.Raw
    timeout: float
    metadata: msgspec.Raw
    attempt: int
    deadline: float | None = None
    callback_url: str | None = None


class ReportBody(msgspec.Struct):
    """What a node reports of an attempt: `status` completed, failed or released."""

    status: str = ""
    result_data: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error_message: str | None = None
    error: Any = None
    success: bool | None = None
    retryable: bool = True
    execution_time: float | None = None
    agent_id: str | None = None
    performance_metrics: msgspec.Raw = msgspec.Raw(b"")
    node_id: str | None = None
    attempt: int | None = None
    task_id: str | None = None


class ReportsBody(msgspec.Struct):
    results: list[ReportBody]


class PullBody(msgspec.Struct):
    """What a node asks: at most `limit` tasks, within `wait` seconds; `running` are those that it has."""

    limit: int = 1
    wait: float = 20.0
    running: list[str] | None = None
