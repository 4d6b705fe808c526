"""What happens to tasks and nodes, as events that anybody may follow. In memory: who was away longer than it reaches
back hears that events are missing and looks at the tasks themselves."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import LOST, Worker, WorkerStatus

KEPT = 10_000
BATCH = 500  # events handed on before others get their turn
QUIET = 15.0  # seconds without an event after which a follower hears something

EVENTS: Mapping[str, str] = {
    "task_submitted": "A task is durable. `task_id`, `task_type`, `priority`.",
    "task_assigned": "A task was given to a node. `task_id`, `node_id`, `attempt`.",
    "task_started": "The node works on it. `task_id`, `node_id`, `attempt`.",
    "task_progress": "How far it is. `task_id`, `node_id`, `progress` (0 to 1), `message`.",
    "task_retrying": "An attempt failed, another one follows. `task_id`, `node_id`, `error`, `retry_count`.",
    "task_requeued": "A task waits for a node again: its pause is over, or its node gave it back or is gone. "
    "`task_id`, `node_id`, `error`, `retry_count`.",
    "task_completed": "`task_id`, `node_id`, `execution_time`.",
    "task_failed": "For good; `state` failed or timeout. `task_id`, `node_id`, `error`.",
    "task_cancelled": "`task_id`, `node_id`.",
    "node_registered": "`node_id`.",
    "node_unregistered": "`node_id`.",
    "node_status": "Another status. `node_id`, `status`.",
    "node_failure": "A node no longer answers; its tasks are queued again. `node_id`, `status`.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """`number` grows by one with each event of the process; `at` is in seconds since the epoch."""

    number: int
    type: str
    at: float
    data: Mapping[str, Any]


class Missed:
    """Events came and went before this follower could read them."""


class Quiet:
    """Nothing has happened for a while."""


class Bulletin:
    """The latest events of this process, and those to come."""

    def __init__(self, wall: Callable[[], float], kept: int = KEPT) -> None:
        """`wall` tells the time in seconds since the epoch."""
        self.last = 0
        self.followers: Counter[str] = Counter()  # how many follow now, by how they do
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=kept)
        self._changed = asyncio.Event()
        self._statuses: dict[str, WorkerStatus] = {}

    def tell(self, kind: str, **data: Any) -> None:
        self.last += 1
        self._events.append(Event(self.last, kind, self._wall(), data))
        self._changed.set()

    async def follow(self, after: int, stopping: asyncio.Event) -> AsyncGenerator[Event | Missed | Quiet]:
        """The events after number `after` as they come, up to the last before `stopping` was set."""
        ending = asyncio.create_task(self._wake_at(stopping))
        try:
            while True:
                over = stopping.is_set()
                self._changed.clear()
                first = self.last - len(self._events) + 1
                if after + 1 < first:
                    after = first - 1
                    yield Missed()
                batch = self._tail(after)[:BATCH]
                for event in batch:
                    after = event.number
                    yield event
                if len(batch) == BATCH:
                    await asyncio.sleep(0)
                elif over:
                    return
                elif after == self.last and not await self._more():
                    yield Quiet()
        finally:
            ending.cancel()

    def _tail(self, after: int) -> list[Event]:
        found: list[Event] = []
        for event in reversed(self._events):
            if event.number <= after:
                break
            found.append(event)
        return found[::-1]

    async def _more(self) -> bool:
        try:
            async with asyncio.timeout(QUIET):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._changed.set()

    # What the parts of the service tell

    def task(self, new: Task, old: Task | None) -> None:
        """A watcher of `Scheduler.on_change`."""
        kind = _kind(new, old)
        if kind:
            self.tell(kind, **_facts(kind, new, old))

    def worker(self, worker: Worker) -> None:
        """A listener of `Workers.on_change`."""
        before = self._statuses.get(worker.id)
        self._statuses[worker.id] = worker.status
        if before is None:
            self.tell("node_registered", node_id=worker.id)
        elif worker.status is not before:
            kind = "node_failure" if worker.status in LOST else "node_status"
            self.tell(kind, node_id=worker.id, status=worker.status.value)

    def worker_lost(self, worker_id: str, removed: bool) -> None:
        if removed and self._statuses.pop(worker_id, None) is not None:
            self.tell("node_unregistered", node_id=worker_id)


def _kind(new: Task, old: Task | None) -> str:
    if old is None:
        return "task_submitted"
    if new.state is old.state:
        return "task_progress" if new.state is TaskState.RUNNING else ""
    return {
        TaskState.QUEUED: "task_requeued",
        TaskState.ASSIGNED: "task_assigned",
        TaskState.RUNNING: "task_started",
        TaskState.RETRYING: "task_retrying",
        TaskState.COMPLETED: "task_completed",
        TaskState.FAILED: "task_failed",
        TaskState.TIMEOUT: "task_failed",
        TaskState.CANCELLED: "task_cancelled",
    }.get(new.state, "")


def _facts(kind: str, new: Task, old: Task | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"task_id": new.id, "task_type": new.spec.type}
    if kind == "task_submitted":
        return {**facts, "priority": new.spec.priority}
    facts["node_id"] = new.node or (old.node if old is not None else "") or None
    facts["attempt"] = new.attempt
    if kind == "task_progress":
        facts |= {"progress": new.progress, "message": new.note}
    elif kind == "task_completed":
        facts["execution_time"] = new.execution_time
    elif kind in ("task_failed", "task_retrying", "task_requeued", "task_cancelled"):
        facts |= {"error": new.error, "state": new.state.value, "retry_count": new.retries}
    return facts
