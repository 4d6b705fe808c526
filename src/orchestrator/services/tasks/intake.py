"""Takes tasks in: what was submitted is durable when the client hears of it, and what was submitted before is not taken
in again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    OrchestratorError,
    ShuttingDown,
    StorageUnavailable,
)
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.task import NOBODY, Task, TaskSpec
from orchestrator.ports.ledger import Ledger
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.alarms import Alarms
from orchestrator.services.tasks.dependencies import unfinished
from orchestrator.services.tasks.numbers import Numbers
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.submission import DEFAULTS, same, spec_of
from orchestrator.services.tasks.task_body import TaskBody
from orchestrator.services.tasks.writer import DONE, Answer, Listener

DRAWS = 5  # of ids, before it is given up: another replica may have drawn the same
SUBMIT_SECONDS = 30.0  # after which a client hears that it is not known whether its task was taken in
_LATE = "the task was not written down in time; it may still be taken in"

Taken = Callable[[Task | OrchestratorError, bool], None]


class _Arrival(Listener):
    """A task that a client waits for."""

    __slots__ = ("_alarm", "_intake", "_named", "_taken", "_task", "_told")

    def __init__(self, intake: Intake, named: bool, task: Task, taken: Taken, alarms: Alarms) -> None:
        """`named`: the client chose the task's id."""
        self._intake = intake
        self._named = named
        self._task = task
        self._taken = taken
        self._told = False
        self._alarm = alarms.after(SUBMIT_SECONDS, self.late)

    def hear(self, answer: Answer) -> None:
        if self._told:
            return
        self._told = True
        self._alarm.cancel()
        if answer is DONE:
            self._taken(self._task, True)
        else:
            self._intake.settle(self._named, self._task.spec, answer, self._taken)

    def late(self) -> None:
        self._told = True
        self._taken(StorageUnavailable(_LATE), False)


class _Batch:
    """Tasks that a client waits for together. By place: what became of each."""

    __slots__ = ("_done", "_found", "_left")

    def __init__(self, count: int) -> None:
        self._found: list[Task | OrchestratorError | None] = [None] * count
        self._left = count
        self._done: asyncio.Future[None] | None = None

    def put(self, place: int, one: Task | OrchestratorError) -> None:
        if self._found[place] is not None:
            return
        self._found[place] = one
        self._left -= 1
        if not self._left:
            self._end()

    def taker(self, place: int) -> Taken:
        return lambda one, _: self.put(place, one)

    async def all(self, alarms: Alarms) -> list[Task | OrchestratorError]:
        """When there is something of each, or the time is over."""
        if self._left:
            self._done = asyncio.get_running_loop().create_future()
            alarm = alarms.after(SUBMIT_SECONDS, self._end)
            try:
                await self._done
            finally:
                alarm.cancel()
        return [one or StorageUnavailable(_LATE) for one in self._found]

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class _Member(Listener):
    """One of them."""

    __slots__ = ("_batch", "_intake", "_named", "_place", "_task")

    def __init__(self, intake: Intake, batch: _Batch, place: int, named: bool, task: Task) -> None:
        self._intake = intake
        self._batch = batch
        self._place = place
        self._named = named
        self._task = task

    def hear(self, answer: Answer) -> None:
        if answer is DONE:
            self._batch.put(self._place, self._task)
        else:
            self._intake.settle(self._named, self._task.spec, answer, self._batch.taker(self._place))


class Intake:
    """One per process."""

    def __init__(self, clock: Clock, ledger: Ledger, scheduler: Scheduler, rand: Callable[[], float]) -> None:
        """`rand` gives uniform floats in [0, 1)."""
        self.defaults = DEFAULTS
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._numbers = Numbers(rand)
        self._alarms = Alarms()
        self._slow: set[asyncio.Task[None]] = set()

    async def submit(self, body: TaskBody, principal: str = "", key: str = "") -> tuple[Task, bool]:
        """A durable task, and whether it is new: one that was submitted before, with the same id or idempotency key
        and the same content, is returned as it is. Raises InvalidRequest, Conflict, ShuttingDown and
        StorageUnavailable."""
        return await self._submit(body.task_id is not None, self._spec(body, principal, key))

    def begin(self, body: TaskBody, principal: str, key: str, taken: Taken) -> None:
        """The same without a coroutine, for a task that waits for no other: `taken` gets the task, or the error, and
        whether it is new. Raises InvalidRequest, ShuttingDown."""
        spec, named = self._spec(body, principal, key), body.task_id is not None
        if spec.dependencies:
            self._spawn(self._slowly(self._submit(named, spec), taken))
            return
        task = self._new(spec)
        self._scheduler.begin(task, _Arrival(self, named, task, taken, self._alarms))

    def submit_many(
        self, bodies: Sequence[TaskBody | OrchestratorError], principal: str = ""
    ) -> Coroutine[Any, Any, list[Task | OrchestratorError]]:
        """The same for many, in one transaction; what is wrong with one does not touch the others. A task may depend
        on one that comes before it. They are on their way when this returns, and nothing of `bodies` is kept; who
        awaits what it returns hears what became of them. Raises ShuttingDown when none is taken in."""
        self._check_started()
        batch = _Batch(len(bodies))
        for place, body in enumerate(bodies):
            if isinstance(body, OrchestratorError):
                batch.put(place, body)
                continue
            try:
                spec = self._spec(body, principal, "")
            except OrchestratorError as error:
                batch.put(place, error)
                continue
            named = body.task_id is not None
            if spec.dependencies:
                self._spawn(self._slowly(self._submit(named, spec), batch.taker(place)))
            else:
                task = self._new(spec)
                self._scheduler.begin(task, _Member(self, batch, place, named, task))
        return batch.all(self._alarms)

    def settle(self, named: bool, spec: TaskSpec, answer: Answer, taken: Taken) -> None:
        """A task was not written: `taken` gets what becomes of it."""
        self._spawn(self._slowly(self._settle(named, spec, answer), taken))

    def _new(self, spec: TaskSpec) -> Task:
        return lifecycle.submitted(spec, self._scheduler.owner, NOBODY, self._clock.epoch)

    def _spec(self, body: TaskBody, principal: str, key: str) -> TaskSpec:
        self._check_started()
        now = self._clock.wall()
        numbers = self._numbers
        return spec_of(body, numbers.id(now), numbers.seq(now), now, principal, key, self.defaults)

    def _drawn_anew(self, spec: TaskSpec) -> TaskSpec:
        """The same under another id."""
        self._check_started()
        now = self._clock.wall()
        return spec.replace(id=self._numbers.id(now), seq=self._numbers.seq(now), created_at=now)

    def _check_started(self) -> None:
        if self._scheduler.paused:
            raise ShuttingDown("Orchestrator not started", details={"code": "ORCHESTRATOR_NOT_STARTED"})

    async def _submit(self, named: bool, spec: TaskSpec) -> tuple[Task, bool]:
        for _ in range(DRAWS):
            try:
                waits = await unfinished(spec, self._ledger, self._scheduler, new=True)
            except (InvalidRequest, Conflict):
                there = await self._there(spec)  # taken in when its dependencies were well
                if there is None or not same(there.spec, spec, self.defaults):
                    raise
                return there, False
            task = lifecycle.submitted(spec, self._scheduler.owner, waits, self._clock.epoch)
            try:
                async with asyncio.timeout(SUBMIT_SECONDS):
                    verdict = await self._scheduler.submit(task)
            except TimeoutError:
                raise StorageUnavailable(_LATE) from None
            if verdict is DONE:
                return task, True
            there = await self._same(named, spec)
            if there is not None:
                return there, False
            spec = self._drawn_anew(spec)
        raise StorageUnavailable("no free task id was drawn")

    async def _settle(self, named: bool, spec: TaskSpec, answer: Answer) -> tuple[Task, bool]:
        """What became of a task that was not written."""
        if isinstance(answer, OrchestratorError):
            raise answer
        there = await self._same(named, spec)
        if there is not None:
            return there, False
        return await self._submit(named, self._drawn_anew(spec))

    async def _same(self, named: bool, spec: TaskSpec) -> Task | None:
        """The task that was submitted before; None when only the id that was drawn is taken. Raises Conflict."""
        there = await self._there(spec)
        if there is not None and same(there.spec, spec, self.defaults):
            return there
        if named or there is None or there.id != spec.id:
            what = "task_id" if there is not None and there.id == spec.id else "idempotency key"
            raise Conflict(f"another task with this {what} exists", details={"task_id": there.id if there else ""})
        return None

    async def _there(self, spec: TaskSpec) -> Task | None:
        """The task that has the id, or else the idempotency key."""
        task = (await self._ledger.get([spec.id])).get(spec.id) or self._scheduler.tasks.get(spec.id)
        if task is None and spec.idempotency_key:
            task = await self._ledger.by_key(spec.principal, spec.idempotency_key)
        return task

    async def _slowly(self, work: Coroutine[Any, Any, tuple[Task, bool]], taken: Taken) -> None:
        try:
            found: tuple[Task | OrchestratorError, bool] = await work
        except OrchestratorError as error:
            found = (error, False)
        taken(*found)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._slow.add(task)
        task.add_done_callback(self._slow.discard)
