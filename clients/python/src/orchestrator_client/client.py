"""The client for code that waits: `Client`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from orchestrator_client import calls
from orchestrator_client.async_client import AsyncClient
from orchestrator_client.connection import Connection, content_of, read
from orchestrator_client.errors import OrchestratorError, RateLimited, WaitTimeout
from orchestrator_client.models import Event, LogLine, NodeInfo, TaskPriority, TaskResult, TaskStatus
from orchestrator_client.tool_client import ToolClient
from orchestrator_client.wait import Looks

T = TypeVar("T")
Json = dict[str, Any]


class Client(ToolClient):
    """A service at `base_url` (otherwise $ORCHESTRATOR_URL, then http://127.0.0.1:9000) with `api_key` (otherwise
    $ORCHESTRATOR_API_KEY). `timeout` in seconds for one answer. What does no harm twice is tried again `retries` times
    while the service is away. May be used from several threads. Every method raises OrchestratorError.

        with Client() as client:
            task = client.submit_and_wait("resize", {"width": 200})
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, timeout: float = 30.0, *, retries: int = 3
    ) -> None:
        self._connection = Connection(base_url, api_key, timeout, retries)
        self._http = httpx2.Client(**self._connection.options())

    @property
    def base_url(self) -> str:
        return self._connection.url

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, call: calls.Call[T]) -> T:
        """One of `orchestrator_client.calls`."""
        content, headers = content_of(call)
        failures = 0
        while True:
            try:
                try:
                    answer = self._http.request(
                        call.method,
                        call.path,
                        content=content,
                        headers=headers,
                        params=call.query,
                        timeout=self._connection.timeout + call.patience,
                    )
                except httpx2.HTTPError as error:
                    raise self._connection.unreachable(error) from error
                return read(call, answer.status_code, answer.headers, answer.content)
            except OrchestratorError as error:
                failures += 1
                wait = self._connection.again(call, error, failures)
                if wait is None:
                    raise
                time.sleep(wait)

    # Tasks

    def submit_task(
        self,
        task_type: str,
        input_data: Any = None,
        priority: TaskPriority | int | str = TaskPriority.NORMAL,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        task_id: str | None = None,
        **more: Any,
    ) -> str:
        """Submits a task; its id. It is durable then. `timeout` in seconds for one attempt; `more`: max_retries,
        deadline, not_before, dependencies, on_dependency_failure, callback_url, idempotency_key, backoff, metadata."""
        body = calls.task_body(
            task_type,
            input_data,
            priority=priority,
            requirements=requirements,
            timeout=timeout,
            task_id=task_id,
            **more,
        )
        return self.send(calls.submit(body))

    def submit_many(self, tasks: Iterable[Mapping[str, Any]]) -> list[str]:
        """Submits tasks, each with the arguments of `submit_task`, in batches; their ids. Raises PartlyRefused after
        all were sent."""
        results = [one for part in calls.batches(tasks) for one in self.send(calls.submit_batch(part))]
        return calls.submitted(results)

    def get_task(self, task_id: str) -> TaskResult:
        return self.send(calls.get_task(task_id))

    def get_tasks(
        self,
        status: TaskStatus | str | None = None,
        limit: int = 50,
        offset: int = 0,
        *,
        task_type: str | None = None,
        node_id: str | None = None,
        before: int | None = None,
    ) -> Json:
        """`{tasks: {pending, active, completed, failed}, summary, next}`, newest first; `limit` of each list, with
        `status` or `before` of all together. `next` is what to give as `before`."""
        return self.send(calls.get_tasks(status, limit, offset, task_type, node_id, before))

    def iter_tasks(self, status: TaskStatus | str, *, task_type: str | None = None) -> Iterator[TaskResult]:
        """All tasks with a status, newest first, page by page."""
        before: int | None = None
        while True:
            page = self.get_tasks(status, 500, task_type=task_type, before=before)
            yield from calls.listed(page)
            before = page.get("next")
            if before is None:
                return

    def wait_for_task(self, task_id: str, timeout: float | None = None, poll_interval: float = 2.0) -> TaskResult:
        """The task when it has finished, however it ended. Raises WaitTimeout, a TimeoutError, after `timeout`
        seconds. `poll_interval`: most seconds between two looks where the service cannot wait itself."""
        looks = Looks(timeout, poll_interval)
        while not (task := self._look(task_id, looks)).finished:
            wait = looks.again()
            if wait is None:
                raise WaitTimeout(f"Task {task_id} is {task.status} after {timeout:g} s.")
            time.sleep(wait)
        return task

    def _look(self, task_id: str, looks: Looks) -> TaskResult:
        try:
            return self.send(calls.get_task(task_id, looks.ask()))
        except RateLimited:
            if not looks.refused():
                raise
            return self.get_task(task_id)

    def submit_and_wait(
        self, task_type: str, input_data: Any = None, *, wait_timeout: float | None = None, **more: Any
    ) -> TaskResult:
        """`submit_task` (with all its arguments) and `wait_for_task`."""
        return self.wait_for_task(self.submit_task(task_type, input_data, **more), wait_timeout)

    def cancel_task(self, task_id: str, reason: str = "") -> TaskResult:
        """Raises Conflict for one that has finished."""
        return self.send(calls.cancel(task_id, reason))

    def retry_task(self, task_id: str) -> TaskResult:
        """Begins a task anew that failed, timed out or was cancelled. Raises Conflict for any other."""
        return self.send(calls.retry(task_id))

    def explain_task(self, task_id: str) -> Json:
        """Why a task is where it is: `{state, reason, nodes: [{node_id, eligible, reason}], ahead}`."""
        return self.send(calls.explain(task_id))

    def logs(self, task_id: str, after: int = 0, limit: int = 1_000) -> list[LogLine]:
        """Lines that the task's handler wrote with `TaskContext.log`, in their order; at most `limit`, whose `number`
        is above `after`."""
        return self.send(calls.get_logs(task_id, after, limit))

    def get_dead_letters(self, task_type: str | None = None, limit: int = 50, offset: int = 0) -> list[TaskResult]:
        """Tasks that failed for good, newest first."""
        return self.send(calls.dead_letters(task_type, limit, offset))

    def replay_dead_letters(self, task_ids: Sequence[str] | None = None, task_type: str | None = None) -> list[str]:
        """Begins these anew, those of a type, or all (at most 1,000 with one call); their ids."""
        return self.send(calls.replay(task_ids, task_type))

    def get_task_types(self) -> list[Json]:
        return self.send(calls.get("/tasks/types", calls.key("types")))

    def pause_type(self, task_type: str) -> bool:
        """Tasks of the type are taken in and wait."""
        return self.send(calls.switch_type(task_type, "pause"))

    def resume_type(self, task_type: str) -> bool:
        return self.send(calls.switch_type(task_type, "resume"))

    # Nodes

    def get_nodes(self) -> list[NodeInfo]:
        return self.send(calls.get_nodes())

    def get_node(self, node_id: str) -> NodeInfo:
        return self.send(calls.get_node(node_id))

    def register_node(
        self,
        node_id: str,
        host: str,
        port: int,
        node_type: str = "worker",
        capabilities: Sequence[str] = (),
        **more: Any,
    ) -> bool:
        body = {"host": host, "port": port, "node_type": node_type, "capabilities": list(capabilities), **more}
        return calls.worked(self.send(calls.register(node_id, body)))

    def send_heartbeat(self, node_id: str, **metrics: Any) -> bool:
        """`metrics`: status, cpu_usage, memory_usage, gpu_usage (per cent), load_score (0 to 1), agents."""
        return calls.worked(self.send(calls.heartbeat(node_id, metrics)))

    def set_node_status(self, node_id: str, status: str) -> bool:
        """active, degraded, maintenance, offline or error."""
        return self.send(calls.set_status(node_id, status))

    def drain_node(self, node_id: str) -> bool:
        """No new tasks, those that run may finish."""
        return self.send(calls.drain(node_id))

    def remove_node(self, node_id: str) -> bool:
        return self.send(calls.remove(node_id))

    def get_agents(self) -> Json:
        return self.send(calls.get_agents())

    # The service

    def health_check(self) -> Json:
        return self.send(calls.health())

    def get_status(self) -> Json:
        return self.send(calls.status())

    def get_metrics(self) -> Json:
        return self.send(calls.metrics())

    def get_performance_metrics(self) -> Json:
        return self.send(calls.performance())

    def get_config(self) -> Json:
        return self.send(calls.config())

    def update_config(self, config: Mapping[str, Any]) -> bool:
        """Any part of what `get_config` shows."""
        return self.send(calls.update_config(config))

    def start(self) -> bool:
        """Goes on after `stop`."""
        return self.send(calls.control("start"))

    def stop(self) -> bool:
        """The service takes no tasks in and hands none out; what runs goes on."""
        return self.send(calls.control("stop"))

    def restart(self) -> bool:
        return self.send(calls.control("restart"))

    async def subscribe_to_events(
        self, handler: Callable[[Event], Awaitable[None] | None], types: Sequence[str] = ()
    ) -> None:
        """`AsyncClient.subscribe_to_events` with this client's URL and key."""
        ours = self._connection
        async with AsyncClient(ours.url, ours.api_key, ours.timeout, retries=ours.retries) as client:
            await client.subscribe_to_events(handler, types)
