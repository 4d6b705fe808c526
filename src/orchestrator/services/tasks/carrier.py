"""Brings tasks to worker nodes: pushes them, or hands them to a node that asks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.domain.errors import (
    Conflict,
    NotFound,
    OrchestratorError,
    ShuttingDown,
    StorageUnavailable,
    UpstreamError,
)
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker, WorkerMode
from orchestrator.ports.upstream import Upstream
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.scheduler import Report
from orchestrator.services.tasks.wire import encode, read_answer, wire

GRACE = 5.0  # seconds that a node's answer may come after the task's timeout
CANCEL_SECONDS = 5.0
KEPT_SECONDS = 2.0  # that a task waits for the next poll of its node
MOST_RECALLED = 1_000
_JSON = {"Content-Type": "application/json"}
_log = logging.getLogger("orchestrator.tasks")


class Reports(Protocol):
    """What the scheduler is told."""

    async def started(self, task_id: str, attempt: int) -> Task: ...
    async def report(self, task_id: str, attempt: int, report: Report) -> Task: ...


@dataclass(slots=True)
class _Poll:
    """A node that waits for tasks."""

    tasks: list[Task] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)


class NodeCarrier:
    """`Carrier` for nodes that are pushed to and nodes that pull."""

    def __init__(
        self, upstream: Upstream, reach: Reach, tick: Callable[[], float], result_url: Callable[[Task], str]
    ) -> None:
        """`tick` tells monotonic seconds; `result_url` where a node may send what became of a task."""
        self.reports: Reports | None = None  # set once, before the first delivery
        self.on_measured: list[Callable[[str, float], None]] = []  # node, seconds until it answered
        self._upstream = upstream
        self._reach = reach
        self._tick = tick
        self._result_url = result_url
        self._tasks: set[asyncio.Task[None]] = set()
        self._polls: dict[str, _Poll] = {}
        self._kept: dict[str, list[Task]] = {}  # assigned when the node had just been answered
        self._recalled: dict[str, deque[tuple[str, int]]] = {}
        self._ending = False

    def deliver(self, worker: Worker, task: Task) -> None:
        if worker.mode is WorkerMode.PUSH:
            self._spawn(self._push(worker, task))
            return
        poll = self._polls.get(worker.id)
        if poll is None:
            kept = self._kept.setdefault(worker.id, [])
            kept.append(task)
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._give_back, worker.id, task)
        else:
            poll.tasks.append(task)
            poll.more.set()

    def withdraw(self, worker: Worker, task: Task) -> None:
        if worker.mode is WorkerMode.PUSH:
            self._spawn(self._recall(worker, task))
        else:
            self._recalled.setdefault(worker.id, deque(maxlen=MOST_RECALLED)).append((task.id, task.attempt))

    def to_cancel(self, worker_id: str) -> list[tuple[str, int]]:
        """The tasks and attempts that a node which pulls should stop; each is told once."""
        return list(self._recalled.pop(worker_id, ()))

    def kept(self, worker_id: str) -> frozenset[str]:
        """The tasks that wait for the node's next poll."""
        return frozenset(task.id for task in self._kept.get(worker_id, ()))

    async def poll(self, worker_id: str, wait: float) -> list[Task]:
        """The tasks that the node is given within `wait` seconds; it waits for the first and takes what came with it.
        A later poll of the same node ends an earlier one. Raises ShuttingDown."""
        if self._ending:
            raise ShuttingDown()
        kept = self._kept.pop(worker_id, None)
        if kept:
            return kept
        earlier = self._polls.get(worker_id)
        if earlier is not None:
            earlier.more.set()
        poll = self._polls[worker_id] = _Poll()
        try:
            async with asyncio.timeout(wait):
                await poll.more.wait()
        except TimeoutError:
            pass
        finally:
            if self._polls.get(worker_id) is poll:
                del self._polls[worker_id]
        return poll.tasks

    def end_polls(self) -> None:
        """A shutdown does not wait for those who wait: they get what there is for them, and nobody may wait anew."""
        self._ending = True
        for poll in self._polls.values():
            poll.more.set()

    def _give_back(self, worker_id: str, task: Task) -> None:
        """The node has not asked again."""
        kept = self._kept.get(worker_id, [])
        if task in kept:
            kept.remove(task)
            self._spawn(self._tell(task, Report(None)))

    async def stop(self) -> None:
        """Ends all deliveries; what they were about is taken up with the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _push(self, worker: Worker, task: Task) -> None:
        began = self._tick()
        body = encode(wire(task, self._result_url(task)))
        try:
            answer = await self._upstream.fetch(
                await self._reach.target(worker),
                "POST",
                worker.task_path,
                headers=_JSON,
                body=body,
                timeout=task.spec.timeout + GRACE,
            )
        except UpstreamError as error:
            await self._tell(task, Report(False, error=error.message, status=0, seconds=self._tick() - began))
            return
        except OrchestratorError as error:
            await self._tell(task, Report(False, error=error.message, status=502, final=True))
            return
        seconds = self._tick() - began
        for heard in self.on_measured:
            heard(worker.id, seconds)
        await self._tell(task, read_answer(answer.status, answer.body, seconds))

    async def _tell(self, task: Task, report: Report | None) -> None:
        assert self.reports is not None
        try:
            if report is None:
                await self.reports.started(task.id, task.attempt)
            else:
                await self.reports.report(task.id, task.attempt, report)
        except (Conflict, NotFound):
            pass  # the attempt has ended in another way: timeout, cancellation, or a report that was faster
        except StorageUnavailable as error:
            _log.warning("tasks_not_written", extra={"error": error.message, "waiting": 1})

    async def _recall(self, worker: Worker, task: Task) -> None:
        body = json.dumps({"task_id": task.id, "attempt": task.attempt}).encode()
        path = f"{worker.task_path}/{task.id}/cancel"
        try:
            await self._upstream.fetch(
                await self._reach.target(worker), "POST", path, headers=_JSON, body=body, timeout=CANCEL_SECONDS
            )
        except OrchestratorError as error:
            _log.debug("the node was not told of a cancellation: %s", error.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
