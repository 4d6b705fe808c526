"""Tasks as clients and nodes see them: looking, cancelling, replaying, reporting. Submitting is `intake`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.domain.errors import (
    Conflict,
    NotFound,
    OrchestratorError,
    StorageUnavailable,
)
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.ports.ledger import Change, Counts, Ledger, TaskQuery, Verdict
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.carrier import HEARD_SECONDS, NodeCarrier
from orchestrator.services.tasks.intake import Intake
from orchestrator.services.tasks.large_results import NoOutputs, Outputs
from orchestrator.services.tasks.scheduler import Done, Report, Scheduler, Watcher
from orchestrator.services.tasks.writer import Answer

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


class Told(NamedTuple):
    """What a node says of an attempt, as in `Tasks.report`."""

    task_id: str
    attempt: int | None
    node: str
    report: Report | None


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
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._carrier = carrier
        self._outputs = outputs or NoOutputs()
        self.on_elsewhere: list[Watcher] = []  # called when a change of another process's task is durable
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
                await self._scheduler.report(task_id, attempt, Report(None))

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

    # Reporting

    async def report(self, task_id: str, attempt: int | None, node: str, report: Report | None) -> Task:
        """What a node says of an attempt; None: it works on it. A report that comes a second time is answered like the
        first. Raises NotFound, and Conflict for an attempt that is no longer the current one."""
        if report is not None:
            if report.result is not None and len(report.result) > MAX_RESULT:
                return await self._report_large(task_id, attempt, node, report)
            self._carrier.reported(node, task_id, attempt)
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

    async def report_many(self, told: Sequence[Told]) -> list[Task | OrchestratorError]:
        """The same for many, in one transaction as far as this process looks after the tasks."""
        begun: dict[int, Task] = {}  # by place: what the task becomes
        done: set[int] = set()
        left = 0
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(place: int) -> Done:
            def end(answer: Answer) -> None:
                nonlocal left
                if answer is Verdict.DONE:
                    done.add(place)
                left -= 1
                if not left and not written.done():
                    written.set_result(None)

            return end

        for place, one in enumerate(told):
            following = self._begin(one, ended(place))
            if following is not None:
                begun[place] = following
                left += 1
        rest = [place for place in range(len(told)) if place not in begun]
        others = asyncio.gather(*(self._answered(told[place]) for place in rest))
        if left:
            await written
        found: dict[int, Task | OrchestratorError] = {place: begun[place] for place in done}
        found |= zip(rest, await others, strict=True)
        late = [place for place in begun if place not in done]  # changed by others meanwhile
        found |= zip(late, await asyncio.gather(*(self._answered(told[place]) for place in late)), strict=True)
        return [found[place] for place in range(len(told))]

    def _begin(self, one: Told, done: Done) -> Task | None:
        """What a plain report makes of a task that is looked after here; None for any other, with which nothing is
        done."""
        task_id, attempt, node, report = one
        task = self._scheduler.tasks.get(task_id)
        if task is None or report is None or attempt is None or task.owner != self._scheduler.owner:
            return None
        if not task.state.active or task.attempt != attempt or len(report.result or b"") > MAX_RESULT:
            return None
        self._carrier.reported(node, task_id, attempt)
        return self._scheduler.reported(task_id, attempt, report, done)

    async def _answered(self, one: Told) -> Task | OrchestratorError:
        try:
            return await self.report(*one)
        except OrchestratorError as error:
            return error

    async def _report_large(self, task_id: str, attempt: int | None, node: str, report: Report) -> Task:
        """Keeps the result first, where the report counts."""
        task = self._scheduler.tasks.get(task_id) or await self.get(task_id)
        attempt = _attempt(task, attempt, node)
        if not task.state.active or task.attempt != attempt:  # refused, or said before
            return await self.report(task_id, attempt, node, report._replace(result=b"null"))
        kept = await self._outputs.keep(task, attempt, report)
        try:
            return await self.report(task_id, attempt, node, kept)
        except (Conflict, NotFound):
            await self._outputs.forget(task, attempt)
            raise

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
                for watcher in self.on_elsewhere:
                    watcher(following, task)
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
