"""Puts together what runs tasks."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from orchestrator.adapters.cronsim import CronSimCalendar
from orchestrator.adapters.machine import ReplicaPlace
from orchestrator.adapters.redis import RedisWakeups
from orchestrator.bootstrap import values
from orchestrator.bootstrap.nodes import keep
from orchestrator.bootstrap.seams import PLAIN, Seams
from orchestrator.bootstrap.sharing import redis_url
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.placement import Placement
from orchestrator.domain.task.task import Task
from orchestrator.ports.store import Storage
from orchestrator.ports.telemetry import Family
from orchestrator.ports.upstream import Upstream
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.tasks.bulk import Bulk
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.carriers import Carriers
from orchestrator.services.tasks.event_retention import EventRetention
from orchestrator.services.tasks.families import TaskFamilies
from orchestrator.services.tasks.figures import Figures, counter
from orchestrator.services.tasks.keeper import Keeper
from orchestrator.services.tasks.large_results import LargeResults, Outputs
from orchestrator.services.tasks.local import Handler, Local
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.retention import TaskRetention
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.schedules import Schedules
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.task_logs import TaskLogs
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.waits import Waits
from orchestrator.services.tasks.wakening import Wakening
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
    large: LargeResults
    local: Local
    writer: Writer
    keeper: Keeper
    retention: TaskRetention
    workers: Workers
    schedules: Schedules
    webhooks: Webhooks
    event_retention: EventRetention
    waits: Waits
    task_logs: TaskLogs
    wakening: Wakening | None  # where replicas speak to each other
    bulk: Bulk
    place: ReplicaPlace

    async def start(self, stack: AsyncExitStack) -> None:
        """Takes up what earlier processes left, and keeps going until the stack closes. Raises StorageUnavailable."""
        for worker in self.workers.all().values():
            self.bulletin.worker(worker, silent=True)
            self.local.node_changed(worker)
            self.scheduler.node_changed(worker)
        stack.push_async_callback(self.bulletin.stop)
        await self.bulletin.start()
        await self.event_retention.start()
        keep(stack, self.bulletin.run(asyncio.sleep))
        keep(stack, self.event_retention.run(asyncio.sleep))
        keep(stack, self.waits.run(asyncio.sleep))
        keep(stack, self.task_logs.run(asyncio.sleep))
        keep(stack, self.writer.run())
        stack.push_async_callback(self._release)
        stack.push_async_callback(self.writer.drained)
        stack.push_async_callback(self.large.stop)
        stack.push_async_callback(self.carrier.stop)
        stack.push_async_callback(self.local.stop)
        self.local.look()
        stack.push_async_callback(self.bulk.close)
        stack.callback(self.scheduler.stop)
        await self.keeper.start(self.place.dead)
        self.place.settled()
        keep(stack, self.local.run(asyncio.sleep))
        keep(stack, self.keeper.run(asyncio.sleep))
        keep(stack, self.retention.run(asyncio.sleep))
        keep(stack, self.figures.run(asyncio.sleep))
        keep(stack, self.schedules.run())
        if self.wakening is not None:
            keep(stack, self.wakening.run())
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
    outputs: Outputs,
    seams: Seams = PLAIN,
) -> TaskParts:
    """`handlers` are for the task types that the service itself runs, `outputs` keeps large results."""
    alone = not settings.database_url.startswith("postgres")  # no other process can use this ledger
    clock, ledger = fleet.clock, seams.ledger(storage.ledger)
    rand = random.Random(secrets.randbits(64)).random  # noqa: S311 - placement needs speed, not secrecy
    owner = secrets.token_hex(8)
    bulletin = Bulletin(clock.wall, storage.event_log, owner, alone=alone)
    writer = Writer(ledger, bulletin)
    carrier, local = _carriers(settings, clock, seams.upstream(upstream), workers, handlers)
    carriers = seams.carrier(Carriers(carrier, local))
    scheduler = Scheduler(clock, writer, _seats(settings, rand), carriers, owner=owner, rand=rand)
    large = LargeResults(scheduler, outputs)
    carrier.reports = local.reports = large
    local.on_change.append(scheduler.node_changed)
    waits = Waits(ledger, alone=alone)
    figures = Figures(clock.wall, ledger.counts, workers.all, fleet.nodes)
    scheduler.on_change += [figures.task, counter(workers.finished)]
    scheduler.on_end.append(waits.task)
    _hear_of_workers(workers, local, carrier, scheduler, bulletin, figures)
    tasks = Tasks(clock, ledger, scheduler, carrier, rand, outputs)
    tasks.intake.defaults = values.task_defaults(settings)
    tasks.reporting.on_elsewhere += [bulletin.task, waits.task]
    keeper = Keeper(ledger, scheduler, clock.wall, alone=alone, lease=seams.lease)
    wakening = _wakening(settings, storage, scheduler, keeper, waits, bulletin)
    if wakening is not None:
        tasks.reporting.on_elsewhere.append(wakening.task)
    retention = TaskRetention(storage.task_archive, values.keep_rules(settings), clock.wall)
    schedules = Schedules(storage.schedules, CronSimCalendar(), tasks, clock.wall, lambda: secrets.token_hex(6))
    webhooks = _webhooks(settings, storage, upstream, clock, rand, scheduler)
    return TaskParts(
        tasks,
        scheduler,
        bulletin,
        figures,
        TaskFamilies(figures, scheduler, workers, webhooks).families,
        carrier,
        large,
        local,
        writer,
        keeper,
        retention,
        workers,
        schedules,
        webhooks,
        EventRetention(storage.event_log, bulletin, values.event_rules(settings), clock.wall, owner, alone=alone),
        waits,
        TaskLogs(storage.task_logs, bulletin, values.log_rules(settings), clock.wall),
        wakening,
        Bulk(tasks, scheduler, clock.wall, lambda: f"bulk_{secrets.token_hex(6)}"),
        ReplicaPlace(settings.data_dir, scheduler.owner),
    )


def _seats(settings: Settings, rand: Callable[[], float]) -> Seats:
    return Seats(Placement(settings.tasks.policy, rand=rand))


def _carriers(
    settings: Settings, clock: Clock, upstream: Upstream, workers: Workers, handlers: Mapping[str, Handler]
) -> tuple[NodeCarrier, Local]:
    carrier = NodeCarrier(upstream, Reach(lambda: workers.rules.hosts, clock.tick), clock.tick, _result_url(settings))
    carrier.on_measured.append(lambda node, seconds: workers.measured(node, seconds * 1000))
    return carrier, Local(handlers, settings.tasks.local_slots, clock.tick, clock.wall)


def _wakening(
    settings: Settings, storage: Storage, scheduler: Scheduler, keeper: Keeper, waits: Waits, bulletin: Bulletin
) -> Wakening | None:
    url = redis_url(settings)
    if not url:
        return None
    wakeups = RedisWakeups(url, storage.instance_id, scheduler.owner)
    return Wakening(wakeups, scheduler, keeper, waits, bulletin)


def _hear_of_workers(
    workers: Workers, local: Local, carrier: NodeCarrier, scheduler: Scheduler, bulletin: Bulletin, figures: Figures
) -> None:
    """Tells everybody what becomes of nodes."""

    def lost(node: str, _reason: str) -> None:
        removed = node not in workers.all()
        local.node_lost(node)
        if removed:
            carrier.removed(node)
        scheduler.node_lost(node, removed=removed)
        bulletin.worker_lost(node, removed, silent=workers.adopting)
        figures.lost(node, removed=removed)

    workers.on_change += [local.node_changed, scheduler.node_changed]
    workers.on_change.append(lambda worker: bulletin.worker(worker, silent=workers.adopting))
    workers.on_lost.append(lost)
    workers.to_cancel = carrier.to_cancel


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
    scheduler.on_end.append(webhooks.task)
    return webhooks


def _result_url(settings: Settings) -> Callable[[Task], str]:
    """Where nodes on the network may send results; '' while the service listens on all addresses: which one a node can
    reach is not known."""
    server = settings.server
    if server.host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not listened on
        return lambda task: ""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return lambda task: f"http://{host}:{server.port}/api/v1/tasks/{task.id}/result"
