"""Tasks as clients and nodes see them: submitting, looking, cancelling, replaying, reporting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    ShuttingDown,
    StorageUnavailable,
)
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Change, Counts, Ledger, TaskQuery, Verdict
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.numbers import Numbers
from orchestrator.services.tasks.scheduler import Report, Scheduler
from orchestrator.services.tasks.submission import DEFAULTS, TaskBody, same, spec_of

SHORTEST_WAIT = 0.05  # seconds of a pull: a task is written down before it is handed out
HEARD_SECONDS = 1.0  # after which a node must know what it was given
DRAWS = 5  # of ids, before it is given up: another replica may have drawn the same
RACES = 5  # lost against other replicas that change the same task, before a report is refused
SUBMIT_SECONDS = 30.0  # after which a client hears that it is not known whether its task was taken in


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
        self, clock: Clock, ledger: Ledger, scheduler: Scheduler, carrier: NodeCarrier, rand: Callable[[], float]
    ) -> None:
        """`rand` gives uniform floats in [0, 1)."""
        self.defaults = DEFAULTS
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._carrier = carrier
        self._polls: dict[str, int] = {}  # by node: how often it has asked
        self._numbers = Numbers(rand)

    # Submitting

    async def submit(self, body: TaskBody, principal: str = "", key: str = "") -> tuple[Task, bool]:
        """A durable task, and whether it is new: one that was submitted before, with the same id or idempotency key
        and the same content, is returned as it is. Raises InvalidRequest, Conflict, ShuttingDown and
        StorageUnavailable."""
        for _ in range(DRAWS):
            spec = self._spec(body, principal, key)
            task = lifecycle.submitted(spec, self._scheduler.owner, await self._unfinished(spec), self._clock.epoch)
            try:
                async with asyncio.timeout(SUBMIT_SECONDS):
                    verdict = await self._scheduler.submit(task)
            except TimeoutError:
                raise StorageUnavailable("the task was not written down in time; it may still be taken in") from None
            if verdict is Verdict.DONE:
                return task, True
            there = await self._there(spec)
            if there is not None and same(there.spec, spec):
                return there, False
            if body.task_id is not None or there is None or there.id != spec.id:
                what = "task_id" if there is not None and there.id == spec.id else "idempotency key"
                raise Conflict(f"another task with this {what} exists", details={"task_id": there.id if there else ""})
        raise StorageUnavailable("no free task id was drawn")

    async def submit_many(
        self, bodies: Sequence[TaskBody | OrchestratorError], principal: str = ""
    ) -> list[Task | OrchestratorError]:
        """The same for many, in one transaction; what is wrong with one does not touch the others. A task may depend
        on one that comes before it."""
        found = await asyncio.gather(
            *(self._one(body, principal) for body in bodies),
        )
        return list(found)

    async def _one(self, body: TaskBody | OrchestratorError, principal: str) -> Task | OrchestratorError:
        if isinstance(body, OrchestratorError):
            return body
        try:
            return (await self.submit(body, principal))[0]
        except OrchestratorError as error:
            return error

    def _spec(self, body: TaskBody, principal: str, key: str) -> TaskSpec:
        if self._scheduler.paused:
            raise ShuttingDown("Orchestrator not started", details={"code": "ORCHESTRATOR_NOT_STARTED"})
        now = self._clock.wall()
        numbers = self._numbers
        return spec_of(body, numbers.id(now), numbers.seq(now), now, principal, key, self.defaults)

    async def _unfinished(self, spec: TaskSpec) -> frozenset[str]:
        """The dependencies that have not finished. Raises InvalidRequest for one that is unknown, Conflict for one that
        has failed already."""
        foreign = [parent for parent in spec.dependencies if parent not in self._scheduler.tasks]
        held = await self._ledger.get(foreign) if foreign else {}
        unfinished = set(spec.dependencies) - set(foreign)
        for parent in foreign:
            if parent not in held:
                raise InvalidRequest(f"dependencies: there is no task '{parent}'")
            if not held[parent].state.finished:
                unfinished.add(parent)
            elif held[parent].state is not TaskState.COMPLETED and spec.on_dependency_failure == "fail":
                raise Conflict(f"dependencies: task '{parent}' is {held[parent].state}")
        return frozenset(unfinished)

    async def _there(self, spec: TaskSpec) -> Task | None:
        """The task that has the id, or else the idempotency key."""
        task = (await self._ledger.get([spec.id])).get(spec.id) or self._scheduler.tasks.get(spec.id)
        if task is None and spec.idempotency_key:
            task = await self._ledger.by_key(spec.principal, spec.idempotency_key)
        return task

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
            return f"{'is tried again' if task.state is TaskState.RETRYING else 'begins'} in {left:.1f} s"
        if task.state is not TaskState.QUEUED:
            return f"is {task.state}" + (f" on {task.node}" if task.state.active else "")
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
        """A finished task from the start. Raises NotFound, Conflict for one that has completed or not finished."""
        return await self._scheduler.replay(await self.get(task_id))

    async def replay_dead(self, ids: Collection[str] = (), task_type: str = "", limit: int = 1_000) -> list[Task]:
        """Replays dead letters: these, or those of a type, or all, at most `limit`."""
        if ids:
            dead = [task for task in (await self._ledger.get(ids)).values() if task.dead]
        else:
            states = frozenset({TaskState.FAILED, TaskState.TIMEOUT})
            dead = list(await self._ledger.page(TaskQuery(states, type=task_type, limit=limit)))
        done = await asyncio.gather(*(self._scheduler.replay(task) for task in dead), return_exceptions=True)
        return [task for task in done if isinstance(task, Task)]

    @property
    def stopped(self) -> bool:
        return self._scheduler.paused

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

    async def confirm(self, node_id: str, running: Collection[str]) -> None:
        """The node says which tasks it has. Of others that it was given it never heard: they are queued again."""
        seat = self._scheduler.seats.by_id.get(node_id)
        kept = self._carrier.kept(node_id)
        since = self._clock.wall() - HEARD_SECONDS
        for task_id, attempt in list(seat.running.items()) if seat is not None else ():
            task = self._scheduler.tasks.get(task_id)
            if task is None or task.state is not TaskState.ASSIGNED or task_id in kept:
                continue
            if task_id in running:
                await self._scheduler.started(task_id, attempt)
            elif (task.assigned_at or 0.0) < since:
                await self._scheduler.report(task_id, attempt, Report(None))

    async def progress(self, task_id: str, attempt: int, part: float | None, note: str) -> bool:
        """How far an attempt is; False when it is no longer wanted."""
        try:
            await self._scheduler.progress(task_id, attempt, part, note)
        except Conflict:
            return False
        except NotFound:
            task = (await self._ledger.get([task_id])).get(task_id)
            return task is not None and task.state.active and task.attempt == attempt
        return True

    # Reporting

    async def report(self, task_id: str, attempt: int | None, node: str, report: Report | None) -> Task:
        """What a node says of an attempt; None: it works on it. A report that comes a second time is answered like the
        first. Raises NotFound, and Conflict for an attempt that is no longer the current one."""
        latest = self._scheduler.tasks.get(task_id)
        if latest is None or (latest.state.active and latest.owner != self._scheduler.owner):
            return await self._report_elsewhere(await self.get(task_id), attempt, node, report)
        try:
            current = _attempt(latest, attempt, node)
            if report is None:
                return await self._scheduler.started(task_id, current)
            return await self._scheduler.report(task_id, current, report)
        except Conflict:
            pass  # another replica may have taken or changed the task: what the ledger holds decides
        return await self._report_elsewhere(await self.get(task_id), attempt, node, report)

    async def _report_elsewhere(self, task: Task, attempt: int | None, node: str, report: Report | None) -> Task:
        """For a task that this process does not look after: it has finished, or another replica has it, which may
        change it at the same moment."""
        attempt = _attempt(task, attempt, node)
        for _ in range(RACES):
            following = self._told(task, attempt, report)
            if following is task:
                return task
            [verdict] = await self._ledger.commit([Change(following, task.version, task.state)])
            if verdict is Verdict.DONE:
                return following
            task = await self.get(task.id)
        raise StorageUnavailable(f"task '{task.id}' changes all the time: try again")

    def _told(self, task: Task, attempt: int, report: Report | None) -> Task:
        """The task after the report; itself where that says nothing new. Raises Conflict."""
        if task.attempt != attempt:
            raise Conflict(f"attempt {attempt} of task '{task.id}' is not the current one")
        if task.state in FINISHED:
            said = TaskState.COMPLETED if report is not None and report.ok else TaskState.FAILED
            if report is not None and task.state is said:
                return task
            raise Conflict(f"task '{task.id}' is {task.state}")
        if not task.state.active:
            raise Conflict(f"attempt {attempt} of task '{task.id}' is not the current one")
        if report is None:
            return task if task.state is TaskState.RUNNING else lifecycle.start(task, self._clock.wall())
        return self._scheduler.after(task, report)


def _attempt(task: Task, attempt: int | None, node: str) -> int:
    """An old node names no attempt: it means the current one, if that is its own."""
    if attempt is not None:
        return attempt
    if node and task.node and node != task.node:
        raise Conflict(f"task '{task.id}' is no longer on node '{node}'")
    return task.attempt
