"""Puts together what runs tasks."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from orchestrator.adapters.cronsim import CronSimCalendar
from orchestrator.bootstrap import values
from orchestrator.bootstrap.nodes import keep
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.placement import Placement
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.store import Storage
from orchestrator.ports.telemetry import Family
from orchestrator.ports.upstream import Upstream
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.carriers import Carriers
from orchestrator.services.tasks.families import TaskFamilies
from orchestrator.services.tasks.figures import Figures
from orchestrator.services.tasks.keeper import Keeper
from orchestrator.services.tasks.local import Handler, Local
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.retention import TaskRetention
from orchestrator.services.tasks.scheduler import Scheduler, Watcher
from orchestrator.services.tasks.schedules import Schedules
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.webhook_post import WebhookPost
from orchestrator.services.tasks.webhooks import Webhooks
from orchestrator.services.tasks.writer import Writer
from orchestrator.services.workers import Workers
from orchestrator.settings import Settings


@dataclass(slots=True)
class TaskParts:
    """What of the tasks other parts of the service see."""

    tasks: Tasks
    scheduler: Scheduler
    bulletin: Bulletin
    figures: Figures
    families: Callable[[], Iterable[Family]]  # a source of `Metrics`
    carrier: NodeCarrier
    local: Local
    writer: Writer
    keeper: Keeper
    retention: TaskRetention
    workers: Workers
    schedules: Schedules
    webhooks: Webhooks

    async def start(self, stack: AsyncExitStack) -> None:
        """Takes up what earlier processes left, and keeps going until the stack closes. Raises StorageUnavailable."""
        for worker in self.workers.all().values():
            self.bulletin.worker(worker)
            self.local.node_changed(worker)
            self.scheduler.node_changed(worker)
        keep(stack, self.writer.run())
        stack.push_async_callback(self._release)
        stack.push_async_callback(self.writer.drained)
        stack.push_async_callback(self.carrier.stop)
        stack.push_async_callback(self.local.stop)
        self.local.look()
        stack.callback(self.scheduler.stop)
        gc.disable()  # looking through what is taken up again and again costs more than taking it up
        try:
            await self.keeper.start()
        finally:
            gc.enable()
        keep(stack, self.local.run(asyncio.sleep))
        keep(stack, self.keeper.run(asyncio.sleep))
        keep(stack, self.retention.run(asyncio.sleep))
        keep(stack, self.figures.run(asyncio.sleep))
        keep(stack, self.schedules.run())
        stack.push_async_callback(self.webhooks.stop)
        keep(stack, self.webhooks.run())

    async def _release(self) -> None:
        try:
            await self.keeper.release()
        except StorageUnavailable as error:  # the lease ends by itself
            logging.getLogger("orchestrator.tasks").warning("tasks_not_read", extra={"error": error.message})


def build_tasks(
    settings: Settings,
    fleet: Fleet,
    storage: Storage,
    upstream: Upstream,
    workers: Workers,
    handlers: Mapping[str, Handler],
) -> TaskParts:
    """`handlers` are for the task types that the service itself runs."""
    alone = not settings.database_url.startswith("postgres")  # no other process can use this ledger
    clock, ledger = fleet.clock, storage.ledger
    rand = random.Random(secrets.randbits(64)).random  # noqa: S311 - placement needs speed, not secrecy
    writer = Writer(ledger)
    carrier = NodeCarrier(upstream, Reach(lambda: workers.rules.hosts, clock.tick), clock.tick, _result_url(settings))
    seats = Seats(Placement(settings.tasks.policy, rand=rand))
    local = Local(handlers, settings.tasks.local_slots, clock.tick, clock.wall)
    carriers = Carriers(carrier, local)
    scheduler = Scheduler(clock, writer, seats, carriers, owner=secrets.token_hex(8), rand=rand)
    carrier.reports = local.reports = scheduler
    local.on_change.append(scheduler.node_changed)
    carrier.on_measured.append(lambda node, seconds: workers.measured(node, seconds * 1000))
    bulletin = Bulletin(clock.wall)
    figures = Figures(clock.wall, ledger.counts, workers.all, fleet.nodes)
    scheduler.on_change += [bulletin.task, figures.task, _counter(workers)]
    workers.on_change += [local.node_changed, scheduler.node_changed, bulletin.worker]

    def lost(node: str, _reason: str) -> None:
        removed = node not in workers.all()
        local.node_lost(node)
        scheduler.node_lost(node, removed=removed)
        bulletin.worker_lost(node, removed)
        figures.lost(node, removed=removed)

    workers.on_lost.append(lost)
    workers.to_cancel = carrier.to_cancel
    tasks = Tasks(clock, ledger, scheduler, carrier, rand)
    tasks.defaults = values.task_defaults(settings)
    keeper = Keeper(ledger, scheduler, clock.wall, alone=alone)
    retention = TaskRetention(storage.task_archive, values.keep_rules(settings), clock.wall)
    families = TaskFamilies(figures, scheduler, workers).families
    schedules = Schedules(storage.schedules, CronSimCalendar(), tasks, clock.wall, lambda: secrets.token_hex(6))
    webhooks = _webhooks(settings, storage, upstream, clock, rand, scheduler)
    return TaskParts(
        tasks,
        scheduler,
        bulletin,
        figures,
        families,
        carrier,
        local,
        writer,
        keeper,
        retention,
        workers,
        schedules,
        webhooks,
    )


def _webhooks(
    settings: Settings,
    storage: Storage,
    upstream: Upstream,
    clock: Clock,
    rand: Callable[[], float],
    scheduler: Scheduler,
) -> Webhooks:
    reach = Reach(lambda: webhooks.rules.hosts, clock.tick, "tasks.webhook_hosts")
    post = WebhookPost(upstream, reach)
    webhooks = Webhooks(storage.webhooks, storage.ledger, post, clock.wall, rand, scheduler.owner)
    webhooks.rules = values.webhook_rules(settings)
    scheduler.on_change.append(webhooks.task)
    return webhooks


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
