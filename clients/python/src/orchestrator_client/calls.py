"""Every request of the API as a value: what is sent and how the answer is read. Both clients send these."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from orchestrator_client.errors import PartlyRefused, understood
from orchestrator_client.models import LogLine, NodeInfo, TaskPriority, TaskResult

T = TypeVar("T")
Json = dict[str, Any]
PREFIX = "/api/v1"
BATCH = 1_000  # tasks in one request
GIVEN = ("task_id", "task_type", "attempt")  # what a worker must know of a task


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request below /api/v1. `again`: sending it twice does no harm, so that it is retried. `patience`: seconds
    that the service may take beyond the usual."""

    method: str
    path: str
    read: Callable[[Json], T]
    body: Any = None
    query: Mapping[str, Any] | None = None
    again: bool = False
    patience: float = 0.0


def get(path: str, read: Callable[[Json], T], **query: Any) -> Call[T]:
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return Call("GET", path, read, query=given or None, again=True)


def key(name: str) -> Callable[[Json], Any]:
    def read(answer: Json) -> Any:
        return answer[name]

    return read


def listing(name: str) -> Callable[[Json], list[Json]]:
    def read(answer: Json) -> list[Json]:
        return list(answer[name])

    return read


def whole(answer: Json) -> Json:
    return answer


def worked(answer: Json) -> bool:
    return bool(answer.get("success", True))


def segment(text: str) -> str:
    return quote(str(text), safe="")


# Tasks


def new_task_id() -> str:
    return f"task_{uuid.uuid4().hex}"


def task_body(
    task_type: str,
    input_data: Any = None,
    *,
    priority: TaskPriority | int | str = TaskPriority.NORMAL,
    requirements: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    task_id: str | None = None,
    **more: Any,
) -> Json:
    """A task as it is sent. It always has an id: the same submission sent again is the same task."""
    body: Json = {
        "task_type": task_type,
        "task_id": task_id or new_task_id(),
        "input_data": input_data,
        "priority": priority if isinstance(priority, str) else int(priority),
        "requirements": dict(requirements or {}),
        "timeout": timeout,
        **more,
    }
    return {name: value for name, value in body.items() if value is not None or name == "input_data"}


def submit(body: Mapping[str, Any]) -> Call[str]:
    return Call("POST", "/tasks", key("task_id"), body=body, again=True)


def batches(tasks: Iterable[Mapping[str, Any]]) -> list[list[Json]]:
    """Tasks as `task_body` takes them, in parts of one request each."""
    bodies = [task_body(**task) for task in tasks]
    return [bodies[at : at + BATCH] for at in range(0, len(bodies), BATCH)]


def submit_batch(bodies: Sequence[Mapping[str, Any]]) -> Call[list[Json]]:
    return Call("POST", "/tasks/batch", listing("results"), body={"tasks": bodies}, again=True)


def submitted(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids. Raises PartlyRefused."""
    with understood():
        refused = {at: str(one.get("error", "")) for at, one in enumerate(results) if not one["success"]}
        if refused:
            raise PartlyRefused([one.get("task_id") if one["success"] else None for one in results], refused)
        return [one["task_id"] for one in results]


def get_task(task_id: str, wait: float = 0.0) -> Call[TaskResult]:
    """`wait`: the service answers when the task has finished, at the latest after so many seconds, at most 30."""
    found = get(f"/tasks/{segment(task_id)}", lambda answer: TaskResult.of(answer["task"]), wait=round(wait, 3) or None)
    return replace(found, patience=wait)


def get_logs(task_id: str, after: int, limit: int) -> Call[list[LogLine]]:
    def read(answer: Json) -> list[LogLine]:
        return [LogLine.of(one) for one in answer["logs"]]

    return get(f"/tasks/{segment(task_id)}/logs", read, after=after or None, limit=limit)


def get_tasks(
    status: str | None, limit: int, offset: int, task_type: str | None, node_id: str | None, before: int | None
) -> Call[Json]:
    return get(
        "/tasks",
        whole,
        status=status and str(status),
        limit=limit,
        offset=offset or None,
        task_type=task_type,
        node_id=node_id,
        before=before,
    )


def listed(page: Json) -> list[TaskResult]:
    """The tasks of one page of `get_tasks`, newest first within each list."""
    with understood():
        return [TaskResult.of(one) for group in page["tasks"].values() for one in group]


def cancel(task_id: str, reason: str) -> Call[TaskResult]:
    body = {"reason": reason} if reason else None
    return Call("POST", f"/tasks/{segment(task_id)}/cancel", lambda answer: TaskResult.of(answer["task"]), body=body)


def retry(task_id: str) -> Call[TaskResult]:
    return Call("POST", f"/tasks/{segment(task_id)}/retry", lambda answer: TaskResult.of(answer["task"]))


def explain(task_id: str) -> Call[Json]:
    return get(f"/tasks/{segment(task_id)}/explain", key("data"))


def dead_letters(task_type: str | None, limit: int, offset: int) -> Call[list[TaskResult]]:
    def read(answer: Json) -> list[TaskResult]:
        return [TaskResult.of(one) for one in answer["tasks"]]

    return get("/tasks/failed", read, task_type=task_type, limit=limit, offset=offset or None)


def replay(task_ids: Sequence[str] | None, task_type: str | None) -> Call[list[str]]:
    body = {"task_ids": list(task_ids)} if task_ids is not None else {"task_type": task_type} if task_type else {}
    return Call("POST", "/tasks/failed/replay", key("task_ids"), body=body)


def switch_type(task_type: str, what: str) -> Call[bool]:
    return Call("POST", f"/tasks/types/{segment(task_type)}/{what}", worked, again=True)


# Nodes


def get_nodes() -> Call[list[NodeInfo]]:
    return get("/nodes", lambda answer: [NodeInfo.of(one) for one in answer["nodes"].values()])


def get_node(node_id: str) -> Call[NodeInfo]:
    return get(f"/nodes/{segment(node_id)}", lambda answer: NodeInfo.of(answer["node"]))


def register(node_id: str, body: Mapping[str, Any]) -> Call[Json]:
    return Call("POST", f"/nodes/{segment(node_id)}/register", whole, body=body, again=True)


def heartbeat(node_id: str, body: Mapping[str, Any]) -> Call[Json]:
    return Call("POST", f"/nodes/{segment(node_id)}/heartbeat", whole, body=body)


def set_status(node_id: str, status: str) -> Call[bool]:
    return Call("PUT", f"/nodes/{segment(node_id)}/status", worked, body={"status": status}, again=True)


def drain(node_id: str) -> Call[bool]:
    return Call("POST", f"/nodes/{segment(node_id)}/drain", worked, again=True)


def remove(node_id: str) -> Call[bool]:
    return Call("DELETE", f"/nodes/{segment(node_id)}", worked)


def get_agents() -> Call[Json]:
    return get("/agents", key("agents"))


def pull(node_id: str, limit: int, wait: float, running: Sequence[str] | None) -> Call[list[Json]]:
    def read(answer: Json) -> list[Json]:
        return [{**one, **{name: one[name] for name in GIVEN}} for one in answer["tasks"]]

    body: Json = {"limit": limit, "wait": wait}
    if running is not None:
        body["running"] = list(running)
    return Call("POST", f"/nodes/{segment(node_id)}/tasks/pull", read, body=body, patience=wait)


def report(results: Sequence[bytes]) -> Call[list[Json]]:
    """Reports that are JSON already."""
    return Call("POST", "/tasks/results", listing("results"), body=b'{"results":[%b]}' % b",".join(results))


def progress(task_id: str, body: Mapping[str, Any]) -> Call[bool]:
    """True: the attempt is no longer wanted."""
    return Call("POST", f"/tasks/{segment(task_id)}/progress", key("cancel"), body=body)


# The service


def health() -> Call[Json]:
    return get("/health", whole)


def status() -> Call[Json]:
    return get("/status", key("data"))


def metrics() -> Call[Json]:
    return get("/metrics", key("metrics"))


def performance() -> Call[Json]:
    return get("/metrics/performance", key("data"))


def config() -> Call[Json]:
    return get("/config", key("config"))


def update_config(changes: Mapping[str, Any]) -> Call[bool]:
    return Call("PUT", "/config", worked, body=changes)


def control(what: str) -> Call[bool]:
    return Call("POST", f"/control/{what}", worked, again=True)
