"""What nodes say of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from orchestrator.domain.errors import Conflict, NotFound, OrchestratorError, StorageUnavailable
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import ACTIVE, COMPLETED, FAILED, FINISHED, RUNNING
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.domain.worker import foreign
from orchestrator.ports.ledger import Ledger
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.large_results import Outputs
from orchestrator.services.tasks.report import Report
from orchestrator.services.tasks.scheduler import Scheduler, Watcher
from orchestrator.services.tasks.writer import DONE, Answer, Listener

RACES = 5  # lost against other replicas that change the same task, before a report is refused

Speaks = Callable[[str], bool]  # whether somebody may speak for a node


class Told:
    """What a node says of an attempt; `report` None: it works on it. `speaks` None: who says it may speak for every
    node."""

    __slots__ = ("attempt", "node", "report", "speaks", "task_id")

    def __init__(
        self, task_id: str, attempt: int | None, node: str, report: Report | None, speaks: Speaks | None = None
    ) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.node = node
        self.report = report
        self.speaks = speaks

    def instead(self, attempt: int, report: Report) -> Told:
        """The same with another report."""
        return Told(self.task_id, attempt, self.node, report, self.speaks)

    def of(self, task: Task) -> int:
        """The attempt that it is about: an old node names none, and means the current one on it. Raises Conflict for
        another node's, Forbidden where nobody may speak for that node but who registered it."""
        if self.attempt is not None and self.attempt != task.attempt:
            return self.attempt  # refused as an old one
        if self.node and task.node and self.node != task.node:
            raise Conflict(f"task '{task.id}' is no longer on node '{self.node}'")
        if self.speaks is not None and task.node and not self.speaks(task.node):
            raise foreign(task.node)
        return task.attempt


class _Reports:
    """Many reports that are written at once. By place: what the task becomes, and what is found when that is durable,
    None where it is not written."""

    __slots__ = ("_done", "_left", "begun", "found")

    def __init__(self, count: int) -> None:
        self.begun: list[Task | None] = [None] * count
        self.found: list[Task | OrchestratorError | None] = [None] * count
        self._left = 0
        self._done: asyncio.Future[None] | None = None

    def hear(self, place: int, answer: Answer) -> None:
        if answer is DONE:
            self.found[place] = self.begun[place]
        self._left -= 1
        if not self._left and self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def all_heard(self, count: int) -> None:
        """Nothing is heard before this is called: it is written later."""
        self._left = count
        self._done = asyncio.get_running_loop().create_future()
        await self._done


class _Place(Listener):
    """One of them."""

    __slots__ = ("_place", "_reports")

    def __init__(self, reports: _Reports, place: int) -> None:
        self._reports = reports
        self._place = place

    def hear(self, answer: Answer) -> None:
        self._reports.hear(self._place, answer)


class Reporting:
    """One per process."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        scheduler: Scheduler,
        carrier: NodeCarrier,
        outputs: Outputs,
        get: Callable[[str], Awaitable[Task]],
    ) -> None:
        """`outputs` keeps large results; `get` looks a task up in the ledger and raises NotFound."""
        self.on_elsewhere: list[Watcher] = []  # called when a change of another process's task is durable
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._carrier = carrier
        self._outputs = outputs
        self._get = get

    async def report(self, told: Told) -> Task:
        """What a node says of an attempt. A report that comes a second time is answered like the first. Raises
        NotFound, Forbidden, and Conflict for an attempt that is no longer the current one."""
        task_id, report = told.task_id, told.report
        if report is not None:
            if report.result is not None and len(report.result) > MAX_RESULT:
                return await self._report_large(told, report)
            self._carrier.reported(told.node, task_id, told.attempt)
        latest = self._scheduler.tasks.get(task_id)
        if latest is None or (latest.state in ACTIVE and latest.owner != self._scheduler.owner):
            return await self._report_elsewhere(await self._get(task_id), told)
        try:
            current = told.of(latest)
            if report is None:
                return await self._scheduler.started(task_id, current)
            return await self._scheduler.report(task_id, current, report)
        except Conflict:
            pass  # another replica may have taken or changed the task: what the ledger holds decides
        return await self._report_elsewhere(await self._get(task_id), told)

    async def check(self, told: Told) -> None:
        """Raises Forbidden for who may not speak for the node that has the task."""
        if told.speaks is None:
            return
        if told.node and not told.speaks(told.node):
            raise foreign(told.node)
        task = self._scheduler.tasks.get(told.task_id) or (await self._ledger.get([told.task_id])).get(told.task_id)
        if task is not None and task.node and told.attempt == task.attempt and not told.speaks(task.node):
            raise foreign(task.node)

    async def report_many(self, told: Sequence[Told]) -> list[Task | OrchestratorError]:
        """The same for many, in one transaction as far as this process looks after the tasks."""
        reports = _Reports(len(told))
        for place, one in enumerate(told):
            reports.begun[place] = self._begin(one, _Place(reports, place))
        rest = [place for place, following in enumerate(reports.begun) if following is None]
        others = asyncio.gather(*(self._answered(told[place]) for place in rest)) if rest else None
        if len(rest) < len(told):
            await reports.all_heard(len(told) - len(rest))
        found = list(reports.found)
        if others is not None:
            for place, answer in zip(rest, await others, strict=True):
                found[place] = answer
        late = [place for place, answer in enumerate(found) if answer is None]  # changed by others meanwhile
        if late:
            for place, answer in zip(
                late, await asyncio.gather(*(self._answered(told[one]) for one in late)), strict=True
            ):
                found[place] = answer
        return [answer for answer in found if answer is not None]

    def _begin(self, one: Told, listener: Listener) -> Task | None:
        """What a plain report makes of a task that is looked after here; None for any other, with which nothing is
        done."""
        task_id, attempt, report = one.task_id, one.attempt, one.report
        task = self._scheduler.tasks.get(task_id)
        if task is None or report is None or attempt is None or task.owner != self._scheduler.owner:
            return None
        if task.state not in ACTIVE or task.attempt != attempt or len(report.result or b"") > MAX_RESULT:
            return None
        if (one.node and one.node != task.node) or (one.speaks is not None and not one.speaks(task.node)):
            return None
        self._carrier.reported(one.node, task_id, attempt)
        return self._scheduler.reported(task_id, attempt, report, listener)

    async def _answered(self, one: Told) -> Task | OrchestratorError:
        try:
            return await self.report(one)
        except OrchestratorError as error:
            return error

    async def _report_large(self, told: Told, report: Report) -> Task:
        """Keeps the result first, where the report counts."""
        task = self._scheduler.tasks.get(told.task_id) or await self._get(told.task_id)
        attempt = told.of(task)
        if task.state not in ACTIVE or task.attempt != attempt:  # refused, or said before
            return await self.report(told.instead(attempt, report.with_result(b"null")))
        kept = await self._outputs.keep(task, attempt, report)
        try:
            return await self.report(told.instead(attempt, kept))
        except (Conflict, NotFound):
            await self._outputs.forget(task, attempt)
            raise

    async def _report_elsewhere(self, task: Task, told: Told) -> Task:
        """For a task that this process does not look after: it has finished, or another replica has it, which may
        change it at the same moment."""
        attempt = told.of(task)
        for _ in range(RACES):
            following = self._told(task, attempt, told.report)
            if following is task:
                return task
            [verdict] = await self._ledger.commit([Change(following, task.version, task.state)])
            if verdict is DONE:
                for watcher in self.on_elsewhere:
                    watcher(following, task)
                return following
            task = await self._get(task.id)
        raise StorageUnavailable(f"task '{task.id}' changes all the time: try again")

    def _told(self, task: Task, attempt: int, report: Report | None) -> Task:
        """The task after the report; itself where that says nothing new. Raises Conflict."""
        if task.attempt != attempt:
            raise Conflict(f"attempt {attempt} of task '{task.id}' is not the current one")
        if task.state in FINISHED:
            said = COMPLETED if report is not None and report.ok else FAILED
            if report is not None and task.state is said:
                return task
            raise Conflict(f"task '{task.id}' is {task.state}")
        if task.state not in ACTIVE:
            raise Conflict(f"attempt {attempt} of task '{task.id}' is not the current one")
        if report is None:
            return task if task.state is RUNNING else lifecycle.start(task, self._clock.wall())
        return self._scheduler.after(task, report)
