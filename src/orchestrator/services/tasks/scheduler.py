"""Decides what happens to every task that this process looks after: which node gets it, when it is tried again, and
when it has taken too long.

Decisions are made on the tasks in memory, which run ahead of the ledger by the changes that wait to be written. What a
decision leads to outside (an answer to a client, a request to a node) happens when the change is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from orchestrator.domain.errors import Conflict, NotFound, OrchestratorError, StorageUnavailable
from orchestrator.domain.placement.record import Outcome
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.ready import Ready, ReadySet
from orchestrator.domain.task.state import (
    ACTIVE,
    ASSIGNED,
    FAILED,
    FINISHED,
    QUEUED,
    RETRYING,
    RUNNING,
    WAITING,
)
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import LOST, Worker
from orchestrator.ports.ledger import Verdict
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.report import Report
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.timers import Timers
from orchestrator.services.tasks.writer import DONE, Answer, CallbackWrite, Listener, Write, Writer

MOST_AT_ONCE = 500  # tasks handed out before other work of the process gets its turn
TIMED_OUT = 504
LOOK_AGAIN = 0.25  # seconds, when the only nodes with room rest after failures
_GIVEN_BACK = Report(None)
_LATE = Report(False, status=TIMED_OUT)
_log = logging.getLogger("orchestrator.tasks")


class Carrier(Protocol):
    """Brings tasks to nodes. Nothing here raises: what goes wrong comes back by `Scheduler.report`."""

    def deliver(self, worker: Worker, task: Task) -> None:
        """The assignment is durable: the node gets the task."""

    def withdraw(self, worker: Worker, task: Task) -> None:
        """The attempt is called off: the node may stop. Best effort."""


Watcher = Callable[[Task, Task | None], None]  # the task as it is now, and as it was


class _Begun(Write):
    """A new task on its way to the ledger."""

    __slots__ = ("_listener", "_scheduler")

    def __init__(self, scheduler: Scheduler, task: Task, listener: Listener) -> None:
        super().__init__(task, insists=False)
        self._scheduler = scheduler
        self._listener = listener

    def written(self, answer: Answer) -> None:
        self._scheduler.begun(self.task, answer)
        self._listener.hear(answer)


class _Step(Write):
    """A change of a task on its way to the ledger. `called_off`: it ends an attempt of which the node said nothing."""

    __slots__ = ("_called_off", "_listener", "_scheduler")

    def __init__(self, scheduler: Scheduler, old: Task, new: Task, listener: Listener | None, called_off: bool) -> None:
        super().__init__(new, old)
        self._scheduler = scheduler
        self._listener = listener
        self._called_off = called_off

    def written(self, answer: Answer) -> None:
        if self.old is not None:
            self._scheduler.changed(self.task, self.old, answer, self._called_off)
        if self._listener is not None:
            self._listener.hear(answer)


class _Promise(Listener):
    """Keeps what is heard for somebody who waits for it."""

    __slots__ = ("future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Verdict] = loop.create_future()

    def hear(self, answer: Answer) -> None:
        if self.future.done():
            return
        if isinstance(answer, OrchestratorError):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class Scheduler:
    """One per process. Not shared between threads."""

    def __init__(
        self, clock: Clock, writer: Writer, seats: Seats, carrier: Carrier, *, owner: str, rand: Callable[[], float]
    ) -> None:
        """`owner` names this process among the replicas; `rand` gives uniform floats in [0, 1)."""
        self.owner = owner
        self.seats = seats
        self.tasks: dict[str, Task] = {}  # unfinished ones that this process looks after, ahead of the ledger
        self.ready = ReadySet()
        self.children: defaultdict[str, set[str]] = defaultdict(set)  # who waits for a task, by its id
        self.doubtful: set[str] = set()  # of these the ledger knows more than this process
        self.paused = False
        self.paused_types: set[str] = set()
        self.on_change: list[Watcher] = []  # called when a change is durable
        self.on_end: list[Watcher] = []  # the same for a change that ends a task
        self._clock = clock
        self._writer = writer
        self._carrier = carrier
        self._rand = rand
        self._timers = Timers(clock.wall, self._ring)
        self._loop: asyncio.AbstractEventLoop | None = None  # looked up once: each look costs a system call
        self._dispatching = False
        self._again: asyncio.TimerHandle | None = None

    # What comes from clients

    def begin(self, task: Task, listener: Listener) -> None:
        """A new task; `listener` hears when it is durable. After StorageUnavailable it may have been taken in, or
        not."""
        if task.spec.id in self.tasks:  # perhaps not durable yet: the answer comes behind it
            self._repeat(task, listener)
            return
        self._writer.put(_Begun(self, task, listener))
        self._keep(task)

    def _repeat(self, task: Task, listener: Listener) -> None:
        def repeated(answer: Answer) -> None:
            if answer is DONE:  # the one before was not written after all
                self.doubtful.add(task.spec.id)
            listener.hear(answer)

        self._writer.put(CallbackWrite(task, repeated, insists=False))

    def begun(self, task: Task, answer: Answer) -> None:
        """What became of the writing of a new task."""
        if answer is DONE:
            self._tell(task, None)
            return
        self.drop(task.spec.id)
        if isinstance(answer, StorageUnavailable):
            self.doubtful.add(task.spec.id)

    async def submit(self, task: Task) -> Verdict:
        """The same, durable when it returns. Raises StorageUnavailable."""
        promise = _Promise(self._running_loop())
        self.begin(task, promise)
        return await promise.future

    async def cancel(self, task: Task, reason: str = "") -> Task:
        """Ends a task that has not finished. `task` is what the ledger holds. Raises Conflict, StorageUnavailable."""
        latest = self.tasks.get(task.id, task)
        return await self._change(latest, lifecycle.cancel(latest, self._clock.wall(), reason))

    async def replay(self, task: Task, unfinished: frozenset[str]) -> Task:
        """Begins a finished task anew, behind what it depends on and has not finished. Raises Conflict,
        StorageUnavailable."""
        latest = self.tasks.get(task.id, task)
        return await self._change(latest, lifecycle.replay(latest, self.owner, unfinished, self._clock.wall()))

    # What comes from nodes

    async def started(self, task_id: str, attempt: int) -> Task:
        """The node works on it. Raises NotFound, and Conflict for an attempt that is not the current one."""
        task = self._current(task_id, attempt)
        if task.state is RUNNING:
            return task
        return await self._change(task, lifecycle.start(task, self._clock.wall()))

    async def progress(self, task_id: str, attempt: int, part: float | None, note: str) -> Task:
        """The same with how far it is. Raises as `started`."""
        task = self._current(task_id, attempt)
        if task.state is ASSIGNED:
            task = self._put(task, lifecycle.start(task, self._clock.wall()))
        return await self._change(task, lifecycle.report(task, part, note))

    async def report(self, task_id: str, attempt: int, report: Report) -> Task:
        """What became of an attempt, durable when this returns. Raises as `started`: an old attempt's word no longer
        counts."""
        task = self._current(task_id, attempt)
        return await self._change(task, self.after(task, report), report)

    def reported(self, task_id: str, attempt: int, report: Report, listener: Listener) -> Task:
        """The same without a coroutine: what the task becomes; `listener` hears when that is durable."""
        task = self._current(task_id, attempt)
        return self._put(task, self.after(task, report), report, listener)

    def heard(self, task_id: str, attempt: int, report: Report | None) -> None:
        """The same where nobody waits for what comes of it, None: the node works on it. On an attempt that is over, by
        timeout, cancellation or word that was faster, it changes nothing."""
        task = self.tasks.get(task_id)
        if task is None or task.state not in ACTIVE or task.attempt != attempt:
            return
        if report is not None:
            self._put(task, self.after(task, report), report)
        elif task.state is ASSIGNED:
            self._put(task, lifecycle.start(task, self._clock.wall()))

    def after(self, task: Task, report: Report) -> Task:
        """The task as a report leaves it. Raises Conflict."""
        now = self._clock.wall()
        if report.ok is None:
            return lifecycle.release(task)
        if report.ok:
            return lifecycle.succeed(task, now, report.result, agent=report.agent, performance=report.performance)
        return lifecycle.fail(
            task, now, report.error or "the node reported a failure", self._rand(), final=report.final
        )

    def _current(self, task_id: str, attempt: int) -> Task:
        task = self.tasks.get(task_id)
        if task is None:
            raise NotFound(f"Task '{task_id}' is not active here")
        if task.state not in ACTIVE or task.attempt != attempt:
            raise Conflict(
                f"attempt {attempt} of task '{task_id}' is not the current one",
                details={"state": task.state.value, "attempt": task.attempt},
            )
        return task

    # What happens to nodes

    def node_changed(self, worker: Worker) -> None:
        """A node came, or may take more, less or other tasks than before."""
        self.seats.put(worker)
        self.dispatch()

    def node_lost(self, worker_id: str, *, removed: bool) -> None:
        """The node is gone, or does not answer: what it worked on is queued again, and its late word is refused."""
        now = self._clock.wall()
        for task_id in self.seats.given(worker_id):
            task = self.tasks.get(task_id)
            if task is not None and task.state in ACTIVE and task.node == worker_id:
                self._put(task, lifecycle.lose_node(task, now), Report(False, status=0))
        if removed:
            self.seats.remove(worker_id)
        self.dispatch()

    # Other processes' tasks

    def adopt(self, tasks: Iterable[Task]) -> None:
        """Looks after tasks that were another process's. Where it is not known whether the node heard of an assignment
        it is made anew; what a node works on goes on there."""
        for task in tasks:
            if task.id in self.tasks:
                continue
            self._keep(task)
            if task.state is ASSIGNED:
                self._put(task, lifecycle.release(task))
            elif task.state is RUNNING:
                seat = self.seats.by_id.get(task.node)
                if seat is None:
                    self.seats.stray(task.node, task.id)
                elif seat.worker.status in LOST:  # before its tasks were known here
                    self._put(task, lifecycle.lose_node(task, self._clock.wall()))
                else:
                    self.seats.take(seat, task.id, task.attempt, task.spec.type)
        self.dispatch()

    def given(self) -> list[Task]:
        """Those of its tasks that nodes have."""
        found = (self.tasks.get(task_id) for task_id in self.seats.all_given())
        return [task for task in found if task is not None and task.state in ACTIVE]

    def drop(self, task_id: str) -> None:
        """Forgets a task that is another process's, or none."""
        task = self.tasks.pop(task_id, None)
        self.ready.discard(task_id)
        self._timers.forget(task_id)
        if task is not None and task.state in ACTIVE:
            self._leave(task, _GIVEN_BACK)

    def stop(self) -> None:
        """Hands nothing out any more."""
        self.paused = True
        self._timers.stop()
        if self._again is not None:
            self._again.cancel()

    # Handing out

    def dispatch(self) -> None:
        """Hands out what nodes have room for, after everything that happens at this moment."""
        if not self._dispatching:
            self._dispatching = True
            self._running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self._dispatching = False
        if self.paused:
            return
        ready, has_room = self.ready, self._has_room
        ready.unblock(has_room)
        now = self._clock.tick()
        for _ in range(MOST_AT_ONCE):
            following = ready.next(has_room)
            if following is None:
                return
            task = self.tasks[following.id]
            deadline = task.spec.deadline
            if deadline is not None and deadline <= self._clock.epoch:  # its alarm has not rung yet
                self._put(task, lifecycle.miss_deadline(task, self._clock.epoch))
                continue
            seat = self.seats.choose(task.spec.of, now)
            if seat is None:  # the nodes with room rest after failures
                ready.set_aside(following.number)
                self._look_again()
                continue
            ready.take(following)
            assigned = lifecycle.assign(task, seat.worker.id, self._clock.epoch)
            self.seats.take(seat, task.id, assigned.attempt, task.spec.type)
            self._put(task, assigned)
        self.dispatch()

    def _has_room(self, number: int) -> bool:
        of = self.ready.classes[number]
        return of.type not in self.paused_types and self.seats.has_room(of)

    def _look_again(self) -> None:
        if self._again is None:

            def look() -> None:
                self._again = None
                self.dispatch()

            self._again = self._running_loop().call_later(LOOK_AGAIN, look)

    def _ring(self) -> None:
        now = self._clock.wall()
        for task_id in self._timers.due(now):
            task = self.tasks.get(task_id)
            following = self._due(task, now) if task is not None else None
            if task is not None and following is not None:
                late = following.state is not FAILED  # a deadline is not the node's fault, a timeout is
                self._put(task, following, _LATE if late else None)

    def _due(self, task: Task, now: float) -> Task | None:
        if task.spec.deadline is not None and task.spec.deadline <= now:
            return lifecycle.miss_deadline(task, now)
        if task.state in ACTIVE:
            return lifecycle.expire(task, now, self._rand())
        if task.state is RETRYING or (task.state is WAITING and not task.waiting_for):
            return lifecycle.wake(task)
        return None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    # Changes

    async def _change(self, old: Task, new: Task, report: Report | None = None) -> Task:
        promise = _Promise(self._running_loop())
        self._put(old, new, report, promise)
        if await promise.future is not DONE:
            raise Conflict(f"Task '{old.id}' has changed in the meantime: try again")
        return new

    def _put(self, old: Task, new: Task, report: Report | None = None, listener: Listener | None = None) -> Task:
        """Does in memory what is decided, and has it written down."""
        if old.state is QUEUED:
            self.ready.discard(old.spec.id)
        called_off = False
        if old.state in ACTIVE and new.state not in ACTIVE:
            called_off = report is None or report is _LATE or not report.status
            self._leave(old, report or _GIVEN_BACK)
        if new.state in FINISHED:
            self.tasks.pop(new.spec.id, None)
            self._timers.forget(new.spec.id)
        else:
            self._keep(new)
        self._writer.put(_Step(self, old, new, listener, called_off))
        return new

    def changed(self, new: Task, old: Task, answer: Answer, called_off: bool) -> None:
        """What became of the writing of a change."""
        if answer is DONE:
            self._tell(new, old, called_off)
        else:
            self.drop(new.spec.id)
            self.doubtful.add(new.spec.id)

    def _keep(self, task: Task) -> None:
        spec = task.spec
        self.tasks[spec.id] = task
        self._timers.set(task)
        if task.state is QUEUED:
            self.ready.add(Ready(spec.id, spec.seq, self.ready.number(spec.of), spec.priority, spec.principal))
            self.dispatch()
        for parent in task.waiting_for:
            self.children[parent].add(spec.id)

    def _leave(self, task: Task, report: Report) -> None:
        """The attempt no longer has a place on its node."""
        # A task that fails where it should run says nothing about the node; one that the node did not answer for does.
        blamed = report.status not in (0, 200) or (report.ok is False and report.status == 0)
        outcome = Outcome(False if blamed else report.ok or None, report.seconds, status=report.status)
        self.seats.leave(task.node, task.id, task.spec.type, outcome, self._clock.tick())
        self.dispatch()

    def _tell(self, new: Task, old: Task | None, called_off: bool = False) -> None:
        """The change is durable: now the world may hear of it. A node that said itself that its attempt is over is not
        told so: it would hear of it when it may have the task's next attempt already."""
        if new.state is ASSIGNED:
            seat, latest = self.seats.by_id.get(new.node), self.tasks.get(new.spec.id)
            if seat is not None and latest is not None and latest.attempt == new.attempt and latest.state in ACTIVE:
                self._carrier.deliver(seat.worker, new)
        elif called_off and old is not None:
            before = self.seats.by_id.get(old.node)
            if before is not None:
                self._carrier.withdraw(before.worker, old)
        for watcher in self.on_change:
            watcher(new, old)
        if new.state in FINISHED:
            for watcher in self.on_end:
                watcher(new, old)
            self.finished(new)

    def finished(self, parent: Task) -> None:
        """A task has finished, here or elsewhere: those that wait for it go on."""
        children = self.children.pop(parent.spec.id, None)
        if not children:
            return
        now = self._clock.wall()
        for child_id in children:
            child = self.tasks.get(child_id)
            following = lifecycle.parent_finished(child, parent, now) if child is not None else None
            if child is not None and following is not None and following is not child:
                self._put(child, following)
