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
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Ledger, Verdict
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.alarms import Alarms
from orchestrator.services.tasks.numbers import Numbers
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.submission import DEFAULTS, same, spec_of
from orchestrator.services.tasks.task_body import TaskBody
from orchestrator.services.tasks.writer import Answer

DRAWS = 5  # of ids, before it is given up: another replica may have drawn the same
SUBMIT_SECONDS = 30.0  # after which a client hears that it is not known whether its task was taken in
_LATE = "the task was not written down in time; it may still be taken in"
_UNFINISHED: frozenset[str] = frozenset()

Taken = Callable[[Task | OrchestratorError, bool], None]


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
        return await self._submit(body, self._spec(body, principal, key))

    def begin(self, body: TaskBody, principal: str, key: str, taken: Taken) -> None:
        """The same without a coroutine, for a task that waits for no other: `taken` gets the task, or the error, and
        whether it is new. Raises InvalidRequest, ShuttingDown."""
        spec = self._spec(body, principal, key)
        if spec.dependencies:
            self._spawn(self._slowly(self._submit(body, spec), taken))
            return
        task = lifecycle.submitted(spec, self._scheduler.owner, _UNFINISHED, self._clock.epoch)

        told = False

        def written(answer: Answer) -> None:
            nonlocal told
            if told:
                return
            told = True
            alarm.cancel()
            if answer is Verdict.DONE:
                taken(task, True)
            else:
                self._spawn(self._slowly(self._settle(body, spec, answer), taken))

        def late() -> None:
            nonlocal told
            told = True
            taken(StorageUnavailable(_LATE), False)

        alarm = self._alarms.after(SUBMIT_SECONDS, late)
        self._scheduler.begin(task, written)

    async def submit_many(
        self, bodies: Sequence[TaskBody | OrchestratorError], principal: str = ""
    ) -> list[Task | OrchestratorError]:
        """The same for many, in one transaction; what is wrong with one does not touch the others. A task may depend
        on one that comes before it."""
        found: list[Task | OrchestratorError] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(bodies)

        def keep(place: int) -> Taken:
            def taken(one: Task | OrchestratorError, _: bool) -> None:
                nonlocal left
                found[place] = one
                left -= 1
                if not left and not done.done():
                    done.set_result(None)

            return taken

        found += [InvalidRequest("not answered")] * left
        for place, body in enumerate(bodies):
            taken = keep(place)
            if isinstance(body, OrchestratorError):
                taken(body, False)
                continue
            try:
                self.begin(body, principal, "", taken)
            except OrchestratorError as error:
                taken(error, False)
        if left:
            await done
        return found

    def _spec(self, body: TaskBody, principal: str, key: str) -> TaskSpec:
        if self._scheduler.paused:
            raise ShuttingDown("Orchestrator not started", details={"code": "ORCHESTRATOR_NOT_STARTED"})
        now = self._clock.wall()
        numbers = self._numbers
        return spec_of(body, numbers.id(now), numbers.seq(now), now, principal, key, self.defaults)

    async def _submit(self, body: TaskBody, spec: TaskSpec) -> tuple[Task, bool]:
        for _ in range(DRAWS):
            task = lifecycle.submitted(spec, self._scheduler.owner, await self._unfinished(spec), self._clock.epoch)
            try:
                async with asyncio.timeout(SUBMIT_SECONDS):
                    verdict = await self._scheduler.submit(task)
            except TimeoutError:
                raise StorageUnavailable(_LATE) from None
            if verdict is Verdict.DONE:
                return task, True
            there = await self._same(body, spec)
            if there is not None:
                return there, False
            spec = self._spec(body, spec.principal, spec.idempotency_key)
        raise StorageUnavailable("no free task id was drawn")

    async def _settle(self, body: TaskBody, spec: TaskSpec, answer: Answer) -> tuple[Task, bool]:
        """What became of a task that was not written."""
        if isinstance(answer, OrchestratorError):
            raise answer
        there = await self._same(body, spec)
        if there is not None:
            return there, False
        return await self._submit(body, self._spec(body, spec.principal, spec.idempotency_key))

    async def _same(self, body: TaskBody, spec: TaskSpec) -> Task | None:
        """The task that was submitted before; None when only the id that was drawn is taken. Raises Conflict."""
        there = await self._there(spec)
        if there is not None and same(there.spec, spec):
            return there
        if body.task_id is not None or there is None or there.id != spec.id:
            what = "task_id" if there is not None and there.id == spec.id else "idempotency key"
            raise Conflict(f"another task with this {what} exists", details={"task_id": there.id if there else ""})
        return None

    async def _there(self, spec: TaskSpec) -> Task | None:
        """The task that has the id, or else the idempotency key."""
        task = (await self._ledger.get([spec.id])).get(spec.id) or self._scheduler.tasks.get(spec.id)
        if task is None and spec.idempotency_key:
            task = await self._ledger.by_key(spec.principal, spec.idempotency_key)
        return task

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
