"""The client for code with an event loop: `AsyncClient`."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from orchestrator_client import calls
from orchestrator_client.connection import Connection, content_of, is_header, read
from orchestrator_client.errors import (
    BadRequest,
    NotFound,
    OrchestratorError,
    RateLimited,
    WaitTimeout,
    error_of,
    understood,
)
from orchestrator_client.models import Event, LogLine, NodeInfo, TaskPriority, TaskResult, TaskStatus
from orchestrator_client.tool_client import AsyncToolClient
from orchestrator_client.wait import Looks, pause

T = TypeVar("T")
Json = dict[str, Any]
QUIET = 60.0  # seconds without a byte after which a stream of events is taken for dead


class AsyncClient(AsyncToolClient):
    """`Client` with awaitable methods. For one event loop.

    async with AsyncClient() as client:
        task = await client.submit_and_wait("resize", {"width": 200})
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, timeout: float = 30.0, *, retries: int = 3
    ) -> None:
        self._connection = Connection(base_url, api_key, timeout, retries)
        self._http = httpx2.AsyncClient(**self._connection.options())

    @property
    def base_url(self) -> str:
        return self._connection.url

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, call: calls.Call[T]) -> T:
        """One of `orchestrator_client.calls`."""
        content, headers = content_of(call)
        failures = 0
        while True:
            try:
                try:
                    answer = await self._http.request(
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
                await asyncio.sleep(wait)

    # Tasks

    async def submit_task(
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
        return await self.send(calls.submit(body))

    async def submit_many(self, tasks: Iterable[Mapping[str, Any]]) -> list[str]:
        """Submits tasks, each with the arguments of `submit_task`, in batches; their ids. Raises PartlyRefused after
        all were sent."""
        results = [one for part in calls.batches(tasks) for one in await self.send(calls.submit_batch(part))]
        return calls.submitted(results)

    async def get_task(self, task_id: str) -> TaskResult:
        return await self.send(calls.get_task(task_id))

    async def get_tasks(
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
        return await self.send(calls.get_tasks(status, limit, offset, task_type, node_id, before))

    async def iter_tasks(self, status: TaskStatus | str, *, task_type: str | None = None) -> AsyncIterator[TaskResult]:
        """All tasks with a status, newest first, page by page."""
        before: int | None = None
        while True:
            page = await self.get_tasks(status, 500, task_type=task_type, before=before)
            for task in calls.listed(page):
                yield task
            before = page.get("next")
            if before is None:
                return

    async def wait_for_task(self, task_id: str, timeout: float | None = None, poll_interval: float = 2.0) -> TaskResult:
        """The task when it has finished, however it ended. Raises WaitTimeout, a TimeoutError, after `timeout`
        seconds. `poll_interval`: most seconds between two looks where the service cannot wait itself."""
        looks = Looks(timeout, poll_interval)
        while not (task := await self._look(task_id, looks)).finished:
            wait = looks.again()
            if wait is None:
                raise WaitTimeout(f"Task {task_id} is {task.status} after {timeout:g} s.")
            await asyncio.sleep(wait)
        return task

    async def _look(self, task_id: str, looks: Looks) -> TaskResult:
        try:
            return await self.send(calls.get_task(task_id, looks.ask()))
        except RateLimited:
            if not looks.refused():
                raise
            return await self.get_task(task_id)

    async def submit_and_wait(
        self, task_type: str, input_data: Any = None, *, wait_timeout: float | None = None, **more: Any
    ) -> TaskResult:
        """`submit_task` (with all its arguments) and `wait_for_task`."""
        task_id = await self.submit_task(task_type, input_data, **more)
        return await self.wait_for_task(task_id, wait_timeout)

    async def cancel_task(self, task_id: str, reason: str = "") -> TaskResult:
        """Raises Conflict for one that has finished."""
        return await self.send(calls.cancel(task_id, reason))

    async def retry_task(self, task_id: str) -> TaskResult:
        """Begins a task anew that failed, timed out or was cancelled. Raises Conflict for any other."""
        return await self.send(calls.retry(task_id))

    async def explain_task(self, task_id: str) -> Json:
        """Why a task is where it is: `{state, reason, nodes: [{node_id, eligible, reason}], ahead}`."""
        return await self.send(calls.explain(task_id))

    async def logs(self, task_id: str, after: int = 0, limit: int = 1_000) -> list[LogLine]:
        """Lines that the task's handler wrote with `TaskContext.log`, in their order; at most `limit`, whose `number`
        is above `after`."""
        return await self.send(calls.get_logs(task_id, after, limit))

    async def get_dead_letters(
        self, task_type: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[TaskResult]:
        """Tasks that failed for good, newest first."""
        return await self.send(calls.dead_letters(task_type, limit, offset))

    async def replay_dead_letters(
        self, task_ids: Sequence[str] | None = None, task_type: str | None = None
    ) -> list[str]:
        """Begins these anew, those of a type, or all (at most 1,000 with one call); their ids."""
        return await self.send(calls.replay(task_ids, task_type))

    async def get_task_types(self) -> list[Json]:
        return await self.send(calls.get("/tasks/types", calls.key("types")))

    async def pause_type(self, task_type: str) -> bool:
        """Tasks of the type are taken in and wait."""
        return await self.send(calls.switch_type(task_type, "pause"))

    async def resume_type(self, task_type: str) -> bool:
        return await self.send(calls.switch_type(task_type, "resume"))

    # Nodes

    async def get_nodes(self) -> list[NodeInfo]:
        return await self.send(calls.get_nodes())

    async def get_node(self, node_id: str) -> NodeInfo:
        return await self.send(calls.get_node(node_id))

    async def register_node(
        self,
        node_id: str,
        host: str,
        port: int,
        node_type: str = "worker",
        capabilities: Sequence[str] = (),
        **more: Any,
    ) -> bool:
        body = {"host": host, "port": port, "node_type": node_type, "capabilities": list(capabilities), **more}
        return calls.worked(await self.send(calls.register(node_id, body)))

    async def send_heartbeat(self, node_id: str, **metrics: Any) -> bool:
        """`metrics`: status, cpu_usage, memory_usage, gpu_usage (per cent), load_score (0 to 1), agents."""
        return calls.worked(await self.send(calls.heartbeat(node_id, metrics)))

    async def set_node_status(self, node_id: str, status: str) -> bool:
        """active, degraded, maintenance, offline or error."""
        return await self.send(calls.set_status(node_id, status))

    async def drain_node(self, node_id: str) -> bool:
        """No new tasks, those that run may finish."""
        return await self.send(calls.drain(node_id))

    async def remove_node(self, node_id: str) -> bool:
        return await self.send(calls.remove(node_id))

    async def get_agents(self) -> Json:
        return await self.send(calls.get_agents())

    # The service

    async def health_check(self) -> Json:
        return await self.send(calls.health())

    async def get_status(self) -> Json:
        return await self.send(calls.status())

    async def get_metrics(self) -> Json:
        return await self.send(calls.metrics())

    async def get_performance_metrics(self) -> Json:
        return await self.send(calls.performance())

    async def get_config(self) -> Json:
        return await self.send(calls.config())

    async def update_config(self, config: Mapping[str, Any]) -> bool:
        """Any part of what `get_config` shows."""
        return await self.send(calls.update_config(config))

    async def start(self) -> bool:
        """Goes on after `stop`."""
        return await self.send(calls.control("start"))

    async def stop(self) -> bool:
        """The service takes no tasks in and hands none out; what runs goes on."""
        return await self.send(calls.control("stop"))

    async def restart(self) -> bool:
        return await self.send(calls.control("restart"))

    async def events(self, types: Sequence[str] = (), last_event_id: str = "") -> AsyncIterator[Event]:
        """What happens, as it happens, for ever: a broken connection is made again, and what happened meanwhile comes
        first (an event `missed` says that some of it was lost). `last_event_id` goes on after an event."""
        failures = 0
        while True:
            try:
                async for event in self._events(types, last_event_id):
                    failures, last_event_id = 0, event.id or last_event_id
                    if event.type != "end":
                        yield event
            except (BadRequest, NotFound):
                raise
            except OrchestratorError as error:
                if error.status in (200, 401, 403):  # 200: it is no orchestrator
                    raise
                failures += 1
            await asyncio.sleep(pause(max(1, failures)))

    async def _events(self, types: Sequence[str], after: str) -> AsyncIterator[Event]:
        """One connection."""
        if not is_header(after):
            raise BadRequest("last_event_id has characters that no event's id has.")
        query = {"type": ",".join(types)} if types else None
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        limits = httpx2.Timeout(self._connection.timeout, read=QUIET)
        try:
            async with self._http.stream("GET", "/events", params=query, headers=headers, timeout=limits) as answer:
                if answer.status_code >= 300:
                    raise error_of(answer.status_code, await answer.aread(), answer.headers.get("retry-after"))
                fields: dict[str, str] = {}
                async for line in answer.aiter_lines():
                    name, _, value = line.partition(":")
                    if name:
                        fields[name] = value.removeprefix(" ")
                    elif not line and "data" in fields:
                        yield _event(fields)
                        fields = {}
        except httpx2.HTTPError as error:
            raise self._connection.unreachable(error) from error

    async def subscribe_to_events(
        self, handler: Callable[[Event], Awaitable[None] | None], types: Sequence[str] = ()
    ) -> None:
        """Calls `handler`, plain or async, for every event, for ever."""
        async for event in self.events(types):
            done = handler(event)
            if inspect.isawaitable(done):
                await done


def _event(fields: Mapping[str, str]) -> Event:
    """Raises OrchestratorError."""
    with understood():
        told = json.loads(fields["data"])
        return Event(fields.get("event", "message"), told.get("data", told), fields.get("id", ""))
