"""Reads what workers send. Everything is optional; what is wrong is refused with the name of the field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.node import MAX_CONCURRENCY_RANGE, NODE_ID
from orchestrator.domain.worker import Agent, Heartbeat, Worker, WorkerMode, WorkerStatus

TEXT = 200  # characters
NAMES = 500  # capabilities, task types, labels
AGENTS = 1000
METADATA = 16 * 1024  # bytes as JSON
PORTS = (1, 65535)
COUNTS = (0, 2**53)
T = TypeVar("T")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,199}\Z")


def read_registration(worker_id: str, body: Mapping[str, Any], now: float) -> Worker:
    """The worker as a registration tells it. Raises InvalidRequest."""
    if not NODE_ID.match(worker_id):
        raise refused("node_id", "must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit")
    if not body:
        raise InvalidRequest("No data provided")
    told = _Fields(body)
    return Worker(
        id=worker_id,
        host=told.text("host", "localhost"),
        port=told.whole("port", 8080, PORTS),
        node_type=told.text("node_type", "worker"),
        mode=told.choice("mode", WorkerMode) or WorkerMode.PUSH,
        capabilities=frozenset(told.names("capabilities")),
        task_types=frozenset(told.names("task_types")),
        labels=told.labels("labels"),
        slots=told.whole("max_concurrency", 4, MAX_CONCURRENCY_RANGE),
        agents=read_agents(body, (), now) or (),
        agents_count=told.whole("agents_count", 0, COUNTS),
        version=told.text("version", "1.0.0"),
        location=told.text("location", "") or None,
        metadata=_metadata(told),
        cpu_usage=told.usage("cpu_usage") or 0.0,
        memory_usage=told.usage("memory_usage") or 0.0,
        gpu_usage=told.usage("gpu_usage") or 0.0,
        load_score=told.load() or 0.0,
        memory_mb=told.number("memory_mb"),
        registered_at=now,
        up_since=now,
        heartbeat_at=now,
    )


def read_heartbeat(body: Mapping[str, Any], known: tuple[Agent, ...], now: float) -> Heartbeat:
    """A heartbeat; what it does not know of an agent stays as in `known`. Raises InvalidRequest."""
    told = _Fields(body)
    return Heartbeat(
        status=read_status(body["status"]) if body.get("status") is not None else None,
        cpu_usage=told.usage("cpu_usage"),
        memory_usage=told.usage("memory_usage"),
        gpu_usage=told.usage("gpu_usage"),
        load_score=told.load(),
        memory_mb=told.number("memory_mb"),
        agents=read_agents(body, known, now),
    )


def read_status(value: object) -> WorkerStatus:
    """Raises InvalidRequest."""
    try:
        return WorkerStatus(str(value))
    except ValueError:
        raise InvalidRequest(f"Invalid status: {str(value)[:TEXT]}", details={"field": "status"}) from None


def read_agents(body: Mapping[str, Any], known: tuple[Agent, ...], now: float) -> tuple[Agent, ...] | None:
    """The agents that a body lists, each once; None where it does not speak of them."""
    listed = body.get("agents")
    if listed is None:
        return None
    if not isinstance(listed, list) or len(listed) > AGENTS:
        raise refused("agents", f"must be a list of at most {AGENTS} objects")
    before = {agent.id: agent for agent in known}
    found: dict[str, Agent] = {}
    for position, entry in enumerate(listed):
        where = f"agents[{position}]"
        if not isinstance(entry, dict):
            raise refused(where, "must be an object")
        told = _Fields(entry, f"{where}.")
        agent_id = told.text("agent_id", "")
        if not agent_id:
            raise refused(f"{where}.agent_id", "is required")
        found[agent_id] = _agent(told, before.get(agent_id) or Agent(agent_id), now)
    return tuple(found.values())


def _agent(told: _Fields, before: Agent, now: float) -> Agent:
    return Agent(
        id=before.id,
        type=told.text("agent_type", before.type),
        status=told.text("status", before.status),
        capabilities=told.names("capabilities", before.capabilities),
        specialized_models=told.names("specialized_models", before.specialized_models),
        tasks_running=told.whole("tasks_running", before.tasks_running, COUNTS),
        tasks_completed=told.whole("tasks_completed", before.tasks_completed, COUNTS),
        efficiency_score=_or(told.number("efficiency_score"), before.efficiency_score),
        resource_usage=_or(told.mapping("resource_usage"), before.resource_usage),
        last_activity=now,
    )


def _or(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def _metadata(told: _Fields) -> Mapping[str, Any]:
    metadata = told.mapping("metadata") or {}
    path = metadata.get("task_path")
    if path is not None and not (isinstance(path, str) and _PATH.match(path) and "/../" not in f"{path}/"):
        raise refused("metadata.task_path", "must be a path of letters, digits and ._~-/ that begins with /")
    return metadata


def refused(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{name} {why}", details={"field": name})


class _Fields:
    """The fields of one object; null is like absent."""

    def __init__(self, body: Mapping[str, Any], prefix: str = "") -> None:
        self._body = body
        self._prefix = prefix

    def _refused(self, name: str, why: str) -> InvalidRequest:
        return refused(self._prefix + name, why)

    def text(self, name: str, default: str) -> str:
        value = self._body.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > TEXT or not value.isprintable():
            raise self._refused(name, f"must be a text of at most {TEXT} printable characters")
        return value.strip() or default

    def whole(self, name: str, default: int, limits: tuple[int, int]) -> int:
        value = self._body.get(name)
        if value is None:
            return default
        low, high = limits
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(name, f"must be a whole number from {low} to {high}")
        return value

    def number(self, name: str) -> float | None:
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e15:
            raise self._refused(name, "must be a number, 0 or more")
        return float(value)

    def usage(self, name: str) -> float | None:
        """Per cent. More than 100, as a sum over processors gives, is 100."""
        value = self.number(name)
        return None if value is None else min(value, 100.0)

    def load(self) -> float | None:
        value = self.number("load_score")
        return None if value is None else min(value, 1.0)

    def names(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._body.get(name)
        if value is None:
            return default
        if not isinstance(value, list) or len(value) > NAMES or not all(_is_name(one) for one in value):
            raise self._refused(name, f"must be a list of at most {NAMES} texts of 1 to {TEXT} characters")
        return tuple(dict.fromkeys(value))

    def labels(self, name: str) -> Mapping[str, str]:
        value = self.mapping(name) or {}
        if len(value) > NAMES or not all(_is_name(one) and _is_label(text) for one, text in value.items()):
            raise self._refused(name, f"must be an object of at most {NAMES} texts")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, dict) or not _fits(value):
            raise self._refused(name, f"must be an object of at most {METADATA} bytes")
        return value

    def choice(self, name: str, kind: type[WorkerMode]) -> WorkerMode | None:
        value = self._body.get(name)
        if value is None:
            return None
        known = [one for one in kind if one is not WorkerMode.LOCAL]
        if value not in known:
            raise self._refused(name, f"must be one of {', '.join(known)}")
        return kind(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= TEXT and value.isprintable()


def _is_label(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT and value.isprintable()


def _fits(value: object) -> bool:
    try:
        return len(json.dumps(value)) <= METADATA
    except RecursionError:
        return False
