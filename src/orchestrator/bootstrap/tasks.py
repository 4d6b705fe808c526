"""Puts together what runs tasks."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from orchestrator.bootstrap.nodes import keep
from orchestrator.domain.placement import Placement
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.upstream import Upstream
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.keeper import Keeper
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.scheduler import Scheduler, Watcher
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.writer import Writer
from orchestrator.services.workers import Workers
from orchestrator.settings import Settings


@dataclass(slots=True)
class TaskParts:
    """What of the tasks other parts of the service see."""

    tasks: Tasks
    scheduler: Scheduler
    bulletin: Bulletin
    carrier: NodeCarrier
    writer: Writer
    keeper: Keeper
    workers: Workers

    async def start(self, stack: AsyncExitStack) -> None:
        """Takes up what earlier processes left, and keeps going until the stack closes. Raises StorageUnavailable."""
        for worker in self.workers.all().values():
            self.bulletin.worker(worker)
            self.scheduler.node_changed(worker)
        keep(stack, self.writer.run())
        stack.push_async_callback(self.writer.drained)
        stack.push_async_callback(self.carrier.stop)
        stack.callback(self.scheduler.stop)
        await self.keeper.start()
        keep(stack, self.keeper.run(asyncio.sleep))


def build_tasks(
    settings: Settings, clock: Clock, ledger: Ledger, upstream: Upstream, workers: Workers, *, alone: bool
) -> TaskParts:
    """`alone`: no other process can use this ledger."""
    rand = random.Random(secrets.randbits(64)).random  # noqa: S311 - placement needs speed, not secrecy
    writer = Writer(ledger)
    reach = Reach(lambda: workers.rules.hosts, clock.tick)
    carrier = NodeCarrier(upstream, reach, clock.tick, _result_url(settings))
    seats = Seats(Placement(settings.tasks.policy, rand=rand))
    scheduler = Scheduler(clock, writer, seats, carrier, owner=secrets.token_hex(8), rand=rand)
    carrier.reports = scheduler
    carrier.on_measured.append(lambda node, seconds: workers.measured(node, seconds * 1000))
    bulletin = Bulletin(clock.wall)
    scheduler.on_change += [bulletin.task, _counter(workers)]
    workers.on_change += [scheduler.node_changed, bulletin.worker]

    def lost(node: str, _reason: str) -> None:
        removed = node not in workers.all()
        scheduler.node_lost(node, removed=removed)
        bulletin.worker_lost(node, removed)

    workers.on_lost.append(lost)
    workers.to_cancel = carrier.to_cancel
    tasks = Tasks(clock, ledger, scheduler, carrier, lambda: secrets.token_hex(6))
    return TaskParts(tasks, scheduler, bulletin, carrier, writer, Keeper(ledger, scheduler, alone=alone), workers)


def _result_url(settings: Settings) -> Callable[[Task], str]:
    """Where nodes on the network may send results; '' while the service listens on all addresses: which one a node can
    reach is not known."""
    server = settings.server
    if server.host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not listened on
        return lambda task: ""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return lambda task: f"http://{host}:{server.port}/api/v1/tasks/{task.id}/result"


def _counter(workers: Workers) -> Watcher:
    """Tells workers what became of their tasks."""

    def count(new: Task, old: Task | None) -> None:
        if old is None or not old.state.active or new.state.active or new.state is TaskState.CANCELLED:
            return
        if new.state is not TaskState.QUEUED:  # given back: nobody is to blame
            workers.finished(old.node, new.state is TaskState.COMPLETED, new.execution_time or 0.0)

    return count
