"""Brings tasks to worker nodes: pushes them, or hands them to a node that asks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.domain.errors import (
    NotFound,
    OrchestratorError,
    ShuttingDown,
    UpstreamError,
)
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker, WorkerMode
from orchestrator.ports.upstream import Target, Upstream
from orchestrator.services.tasks.alarms import Alarms
from orchestrator.services.tasks.delivery import Delivery, post, post_head
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.report import Report
from orchestrator.services.tasks.wire import encode, read_answer, wire

GRACE = 5.0  # seconds that a node's answer may come after the task's timeout
CANCEL_SECONDS = 5.0
MOST_HEADS = 10_000
KEPT_SECONDS = 2.0  # that a task waits for the next poll of its node
MOST_RECALLED = 1_000  # of one node
RECALLED_SECONDS = 600.0  # for which a node that says nothing is told of a cancellation
HEARD_SECONDS = 1.0  # after which a node must know what it was given
_JSON = {"Content-Type": "application/json"}
_log = logging.getLogger("orchestrator.tasks")


class Reports(Protocol):
    """What the scheduler is told."""

    def heard(self, task_id: str, attempt: int, report: Report | None) -> None: ...


@dataclass(slots=True)
class _Poll:
    """A node that waits for tasks."""

    tasks: list[Task] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    removed: bool = False  # the node is, meanwhile


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
        self._alarms = Alarms()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: dict[tuple[str, int], Delivery] = {}  # by task and attempt: pushed, and not answered yet
        self._heads: dict[tuple[Target, str], bytes] = {}
        self._polls: dict[str, _Poll] = {}
        self._kept: dict[str, list[Task]] = {}  # assigned when the node had just been answered
        self._recalled: dict[str, dict[tuple[str, int], float]] = {}  # by node: attempts, and when they were called off
        self._ending = False

    def deliver(self, worker: Worker, task: Task) -> None:
        if worker.mode is WorkerMode.PUSH:
            self._push(worker, task)
            return
        poll = self._polls.get(worker.id)
        if poll is None:
            kept = self._kept.setdefault(worker.id, [])
            kept.append(task)
            self._alarms.after(KEPT_SECONDS, lambda: self._give_back(worker.id, task))
        else:
            if not poll.tasks:
                poll.more.set()
            poll.tasks.append(task)

    def withdraw(self, worker: Worker, task: Task) -> None:
        if worker.mode is WorkerMode.PUSH:
            self._spawn(self._recall(worker, task))
        elif not self._unsent(worker.id, task):
            recalled = self._recalled.setdefault(worker.id, {})
            recalled[task.id, task.attempt] = self._tick()
            if len(recalled) > MOST_RECALLED:
                del recalled[next(iter(recalled))]

    def to_cancel(self, worker_id: str) -> list[tuple[str, int]]:
        """The tasks and attempts that a node which pulls should stop. They are told again and again, as an answer may
        be lost: until the node reports, or says what it runs and they are not among it."""
        recalled = self._recalled.get(worker_id)
        if not recalled:
            return []
        since = self._tick() - RECALLED_SECONDS
        for key in [key for key, at in recalled.items() if at < since]:
            del recalled[key]
        return list(recalled)

    def reported(self, worker_id: str, task_id: str, attempt: int | None) -> None:
        """The node has said what became of an attempt: it needs not be told any more."""
        recalled = self._recalled.get(worker_id)
        if recalled and attempt is not None:
            recalled.pop((task_id, attempt), None)

    def named(self, worker_id: str, running: Collection[str]) -> None:
        """The node has said which tasks it has."""
        recalled = self._recalled.get(worker_id)
        if recalled:
            since = self._tick() - HEARD_SECONDS  # of what it was given a moment ago it may not have heard yet
            for key in [key for key, at in recalled.items() if key[0] not in running and at < since]:
                del recalled[key]

    def removed(self, worker_id: str) -> None:
        """The node is no longer one: it need not wait any longer."""
        self._recalled.pop(worker_id, None)
        self._kept.pop(worker_id, None)
        poll = self._polls.pop(worker_id, None)
        if poll is not None:
            poll.removed = True
            poll.more.set()

    def _unsent(self, worker_id: str, task: Task) -> bool:
        """Takes back what the node has not been handed yet."""
        poll = self._polls.get(worker_id)
        for tasks in (self._kept.get(worker_id, []), poll.tasks if poll is not None else []):
            for place, one in enumerate(tasks):
                if one.id == task.id and one.attempt == task.attempt:
                    del tasks[place]
                    return True
        return False

    def kept(self, worker_id: str) -> frozenset[str]:
        """The tasks that wait for the node's next poll."""
        return frozenset(task.id for task in self._kept.get(worker_id, ()))

    async def poll(self, worker_id: str, wait: float) -> list[Task]:
        """The tasks that the node is given within `wait` seconds; it waits for the first and takes what came with it.
        A later poll of the same node ends an earlier one. Raises ShuttingDown, and NotFound when the node is removed
        meanwhile."""
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
        if poll.removed:
            raise NotFound("Node not found", details={"code": "NODE_NOT_FOUND"})
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
            self._tell(task, Report(None))

    async def stop(self) -> None:
        """Ends all deliveries; what they were about is taken up with the next start."""
        for delivery in self._sent.values():
            delivery.cancel()
        self._sent.clear()
        self._alarms.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _push(self, worker: Worker, task: Task) -> None:
        target = self._reach.known(worker)
        if target is None:
            self._spawn(self._look_up(worker, task))
        else:
            self._send(worker, task, target)

    async def _look_up(self, worker: Worker, task: Task) -> None:
        try:
            target = await self._reach.target(worker)
        except OrchestratorError as error:
            self._tell(task, Report(False, error=error.message, status=0))
        else:
            self._send(worker, task, target)

    def _send(self, worker: Worker, task: Task, target: Target) -> None:
        began = self._tick()
        path = worker.task_path
        head = self._heads.get((target, path))
        if head is None:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            head = self._heads[target, path] = post_head(target, path)

        def answered(status: int, answer: bytes, error: UpstreamError | None) -> None:
            self._sent.pop((task.id, task.attempt), None)
            seconds = self._tick() - began
            if error is not None:
                self._tell(task, Report(False, error=error.message, status=0, seconds=seconds))
                return
            for heard in self.on_measured:
                heard(worker.id, seconds)
            self._tell(task, read_answer(status, answer, seconds))

        body = encode(wire(task, self._result_url(task)))
        delivery = post(self._upstream, self._alarms, target, head, body, task.spec.timeout + GRACE, answered)
        if not delivery.over:
            self._sent[task.id, task.attempt] = delivery

    def _tell(self, task: Task, report: Report | None) -> None:
        assert self.reports is not None
        try:
            self.reports.heard(task.id, task.attempt, report)
        except OrchestratorError as error:
            _log.warning("task_report_refused", extra={"task": task.id, "error": error.message})

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
