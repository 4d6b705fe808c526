"""Tasks as clients and nodes see them: looking, cancelling, replaying. Submitting is `intake`, what nodes say of them
`reporting`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from orchestrator.domain.errors import (
    Conflict,
    NotFound,
)
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Counts, Ledger, TaskQuery
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.carrier import HEARD_SECONDS, NodeCarrier
from orchestrator.services.tasks.intake import Intake
from orchestrator.services.tasks.large_results import NoOutputs, Outputs
from orchestrator.services.tasks.replays import Replays
from orchestrator.services.tasks.report import Report
from orchestrator.services.tasks.reporting import Reporting
from orchestrator.services.tasks.scheduler import Scheduler

SHORTEST_WAIT = 0.05  # seconds of a pull: a task is written down before it is handed out
RACES = 5  # lost against other replicas that change the same task, before a report is refused


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task is where it is. `nodes` says for each node why it cannot have the task now, '' where it can;
    `ahead` is how many tasks of its class go first."""

    task: Task
    reason: str
    nodes: Mapping[str, str]
    ahead: int | None


class Tasks:
    """The use cases. Nothing here waits for a task to finish."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        scheduler: Scheduler,
        carrier: NodeCarrier,
        rand: Callable[[], float],
        outputs: Outputs | None = None,
    ) -> None:
        """`rand` gives uniform floats in [0, 1); `outputs` keeps large results."""
        self.intake = Intake(clock, ledger, scheduler, rand)
        self.replays = Replays(ledger, scheduler)
        self.reporting = Reporting(clock, ledger, scheduler, carrier, outputs or NoOutputs(), self.get)
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._carrier = carrier
        self._polls: dict[str, int] = {}  # by node: how often it has asked

    # Looking

    async def get(self, task_id: str) -> Task:
        """As the ledger holds it. Raises NotFound."""
        task = (await self._ledger.get([task_id])).get(task_id)
        if task is None:
            raise NotFound("Task not found", details={"code": "TASK_NOT_FOUND", "task_id": task_id})
        return task

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        return await self._ledger.page(query)

    async def counts(self) -> Counts:
        return await self._ledger.counts()

    async def explain(self, task_id: str) -> Explanation:
        """Raises NotFound."""
        task = await self.get(task_id)
        nodes = {} if task.state.finished else self._scheduler.seats.reasons(task.spec.of)
        return Explanation(task, self._reason(task, nodes), nodes, self._scheduler.ready.ahead(task_id))

    def _reason(self, task: Task, nodes: Mapping[str, str]) -> str:
        if task.state is TaskState.WAITING and task.waiting_for:
            return f"waits for {', '.join(sorted(task.waiting_for))}"
        if task.state in (TaskState.WAITING, TaskState.RETRYING):
            left = max((task.wake_at or 0.0) - self._clock.wall(), 0.0)
            if task.state is TaskState.WAITING:
                return f"begins in {left:.1f} s"
            return f"attempt {task.attempt} failed: {task.error}; the next one begins in {left:.1f} s"
        if task.state.active:
            return f"is {task.state} on {task.node}"
        if task.state is not TaskState.QUEUED:
            return _ended(task)
        if self._scheduler.paused:
            return "the orchestrator is stopped"
        if task.spec.type in self._scheduler.paused_types:
            return f"tasks of type {task.spec.type} are paused"
        if not nodes:
            return "no node is registered"
        if not any(reason == "" for reason in nodes.values()):
            common = Counter(nodes.values()).most_common(3)
            return "no node can take it: " + "; ".join(f"{count} {reason}" for reason, count in common)
        return "other tasks go first"

    # Changing

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        """Raises NotFound, Conflict for a task that has finished."""
        return await self._scheduler.cancel(await self.get(task_id), reason)

    async def replay(self, task_id: str) -> Task:
        """A finished task from the start. Raises NotFound, Conflict for one that has completed or not finished, or
        depends on one that failed."""
        return await self.replays.one(await self.get(task_id))

    async def replay_dead(self, ids: Collection[str] | None, task_type: str = "", limit: int = 1_000) -> list[Task]:
        """Replays dead letters: these, or else those of a type, or all, at most `limit`."""
        if ids is not None:
            found = (await self._ledger.get(ids)).values() if ids else ()
            dead = [task for task in found if task.dead and task_type in ("", task.spec.type)]
        else:
            states = frozenset({TaskState.FAILED, TaskState.TIMEOUT})
            dead = list(await self._ledger.page(TaskQuery(states, type=task_type, limit=limit)))
        return await self.replays.many(dead)

    @property
    def stopped(self) -> bool:
        return self._scheduler.paused

    @property
    def paused_types(self) -> frozenset[str]:
        return frozenset(self._scheduler.paused_types)

    def stop(self) -> bool:
        """Hands nothing out and takes nothing in until `start`; what runs goes on. False when it was so already."""
        was, self._scheduler.paused = self._scheduler.paused, True
        return not was

    def start(self) -> bool:
        """The opposite of `stop`. False when it was so already."""
        was, self._scheduler.paused = self._scheduler.paused, False
        self._scheduler.dispatch()
        return was

    def pause_type(self, task_type: str) -> None:
        """Tasks of the type are taken in and wait."""
        self._scheduler.paused_types.add(task_type)

    def resume_type(self, task_type: str) -> None:
        self._scheduler.paused_types.discard(task_type)
        self._scheduler.dispatch()

    # Nodes that pull

    async def pull(self, node_id: str, limit: int, wait: float) -> list[Task]:
        """What the node is given within `wait` seconds, at most `limit`. Raises NotFound."""
        seats = self._scheduler.seats
        if node_id not in seats.by_id:
            raise NotFound("Node not found", details={"code": "NODE_NOT_FOUND"})
        self._polls[node_id] = turn = self._polls.get(node_id, 0) + 1
        seats.offer(node_id, limit)
        self._scheduler.dispatch()
        try:
            return await self._carrier.poll(node_id, max(wait, SHORTEST_WAIT))
        finally:
            if self._polls.get(node_id) == turn and node_id in seats.by_id:
                seats.offer(node_id, 0)

    def running(self, node_id: str, running: Collection[str]) -> None:
        """The node says which tasks it has: of others it need not be told that they are cancelled."""
        self._carrier.named(node_id, running)

    async def confirm(self, node_id: str, running: Collection[str]) -> None:
        """The node says which tasks it has. Of others that it was given it never heard: they are queued again."""
        seat = self._scheduler.seats.by_id.get(node_id)
        self._carrier.named(node_id, running)
        kept = self._carrier.kept(node_id)
        since = self._clock.wall() - HEARD_SECONDS
        for task_id, attempt in list(seat.running.items()) if seat is not None else ():
            task = self._scheduler.tasks.get(task_id)
            if task is None or task.state is not TaskState.ASSIGNED or task_id in kept:
                continue
            if task_id in running:
                await self._scheduler.started(task_id, attempt)
            elif (task.assigned_at or 0.0) < since:
                await self._scheduler.report(task_id, attempt, Report(None, status=0))  # it may be on its way

    async def progress(self, task_id: str, attempt: int, part: float | None, note: str) -> bool:
        """How far an attempt is; False when it is no longer wanted."""
        return await self._wanted(self._scheduler.progress(task_id, attempt, part, note), task_id, attempt)

    async def works_on(self, task_id: str, attempt: int) -> bool:
        """The node works on an attempt; False when it is no longer wanted."""
        return await self._wanted(self._scheduler.started(task_id, attempt), task_id, attempt)

    async def _wanted(self, telling: Awaitable[Task], task_id: str, attempt: int) -> bool:
        try:
            await telling
        except Conflict:
            return False
        except NotFound:
            task = (await self._ledger.get([task_id])).get(task_id)
            return task is not None and task.state.active and task.attempt == attempt
        return True


def _ended(task: Task) -> str:
    attempts = f"after {task.attempt} attempt{'s' * (task.attempt > 1)}" if task.attempt else "before any attempt"
    return f"ended {attempts}" + (f": {task.error}" if task.error else "")
