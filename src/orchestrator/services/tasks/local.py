"""This process's own worker: task types that the service runs itself.

Its tasks are never marked as running: a process that takes over from one that is gone begins them anew, as it cannot
know how far they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import LOCAL_WORKER, LOST, Tally, Worker, WorkerMode, WorkerStatus
from orchestrator.services.tasks.carrier import Reports
from orchestrator.services.tasks.report import Report

LOOK = 0.5  # seconds between two looks at what there is to run tasks with
_log = logging.getLogger("orchestrator.tasks")


class Handler(Protocol):
    """Runs tasks of one kind."""

    def wanted(self, task_type: str, others: bool) -> bool:
        """Whether tasks of the type should come here now; `others`: a node names the type as one that it can do."""

    @property
    def ready(self) -> bool:
        """Whether it can do more than say why it cannot."""

    async def run(self, task: Task) -> Report:
        """One attempt. Cancelled when nobody wants its result any more."""


class Local:
    """`Carrier` for the tasks that this process runs, and the worker that stands for it."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        slots: int,
        tick: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`handlers` by task type. `tick` tells monotonic seconds, `wall` those since the epoch."""
        self.on_change: list[Callable[[Worker], None]] = []  # the worker takes other tasks than before
        self.reports: Reports | None = None  # set once, before the first delivery
        self._handlers = handlers
        self._slots = slots
        self._tick = tick
        self._wall = wall
        self._begun = wall()
        self._worker: Worker | None = None
        self._tally = Tally(0, 0, 1.0, 0.0, 0.0)
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._named: dict[str, frozenset[str]] = {}  # of our types, what each node says it can do

    @property
    def worker(self) -> Worker | None:
        """As it is shown among the nodes; None while there is nothing that it does."""
        worker = self._worker
        if worker is None or not any(self._handlers[one].ready for one in worker.task_types):
            return None
        return self._tally.onto(worker)

    # What there is for it

    def node_changed(self, worker: Worker) -> None:
        """Another node came or changed."""
        there = worker.status not in LOST
        named = (worker.task_types | worker.capabilities) & self._handlers.keys() if there else frozenset()
        if self._named.get(worker.id) != named:
            self._named[worker.id] = named
            self.look()

    def node_lost(self, worker_id: str) -> None:
        if self._named.pop(worker_id, None) is not None:
            self.look()

    def look(self) -> None:
        """Finds out which types it takes now."""
        others: frozenset[str] = frozenset().union(*self._named.values())
        types = frozenset(one for one, handler in self._handlers.items() if handler.wanted(one, one in others))
        types = types if self._slots else frozenset()
        if types == (self._worker.task_types if self._worker is not None else frozenset()):
            return
        self._worker = Worker(
            LOCAL_WORKER,
            port=0,
            node_type="service",
            status=WorkerStatus.ACTIVE if types else WorkerStatus.MAINTENANCE,
            mode=WorkerMode.LOCAL,
            capabilities=types,
            task_types=types,
            slots=max(self._slots, 1),
            registered_at=self._begun,
            up_since=self._begun,
            heartbeat_at=self._wall(),
        )
        for listener in self.on_change:
            listener(self._worker)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks again and again, until cancelled."""
        while True:
            self.look()
            await sleep(LOOK)

    # Carrier

    def deliver(self, worker: Worker, task: Task) -> None:
        key = (task.id, task.attempt)
        running = self._running[key] = asyncio.create_task(self._work(task))
        running.add_done_callback(lambda _task: self._running.pop(key, None))

    def withdraw(self, worker: Worker, task: Task) -> None:
        running = self._running.get((task.id, task.attempt))
        if running is not None:
            running.cancel()

    async def stop(self) -> None:
        """Ends what runs; it is begun anew with the next start."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _work(self, task: Task) -> None:
        begun = self._tick()
        try:
            report = await self._handlers[task.spec.type].run(task)
        except OrchestratorError as error:
            report = failure(error.message, final=error.status < 500)
        except Exception:  # noqa: BLE001 - the edge of a task: logged whole, and the task must have an end
            _log.exception("local_task_broke", extra={"task_id": task.id, "type": task.spec.type})
            report = failure("internal error")
        self._tally.finished(bool(report.ok), self._tick() - begun)
        assert self.reports is not None
        self.reports.heard(task.id, task.attempt, report)


def failure(error: str, *, final: bool = False) -> Report:
    """A failed attempt. Its worker is not to blame."""
    return Report(False, error=error, final=final)
