"""Two replicas on one database look after the same schedules."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from orchestrator.adapters.cronsim import CronSimCalendar
from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.placement import Placement
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.ports.ledger import TaskQuery
from orchestrator.ports.schedules import ScheduleStore
from orchestrator.ports.store import Storage
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.carrier import NodeCarrier
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.schedule_body import read_schedule
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.schedules import Schedules
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.writer import Writer
from orchestrator.storage import open_storage

ROUNDS = 1_000
MINUTE = 60.0
START = 1_763_690_010.0  # half a minute after a full one


class Moment:
    """The time, as the test says it is."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class DyingStore:
    """A store whose process dies in one of ten cases before it has moved the schedule on."""

    def __init__(self, store: ScheduleStore, rand: random.Random) -> None:
        self._store = store
        self._rand = rand
        self.add, self.get, self.list = store.add, store.get, store.list
        self.due, self.next_due, self.delete = store.due, store.next_due, store.delete

    async def save(self, schedule: Schedule, expected: int) -> bool:
        if self._rand.random() < 0.1:
            raise StorageUnavailable("died")
        return await self._store.save(schedule, expected)


@asynccontextmanager
async def replica(storage: Storage, store: ScheduleStore, owner: str, wall: Moment) -> AsyncIterator[Schedules]:
    clock, rand = Clock(), random.Random(owner).random
    upstream = ConnectionPool()
    carrier = NodeCarrier(upstream, Reach(lambda: WorkerHosts.of(()), clock.tick), clock.tick, lambda task: "")
    writer = Writer(storage.ledger)
    scheduler = Scheduler(clock, writer, Seats(Placement("round_robin", rand=rand)), carrier, owner=owner, rand=rand)
    tasks = Tasks(clock, storage.ledger, scheduler, carrier, rand)
    writing = asyncio.create_task(writer.run())
    try:
        yield Schedules(store, CronSimCalendar(), tasks, wall, lambda: owner)
    finally:
        await writer.drained()
        scheduler.stop()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await carrier.stop()
        await upstream.close()


async def everything(storage: Storage) -> list[Task]:
    found: list[Task] = []
    while page := await storage.ledger.page(TaskQuery(limit=500, before=found[-1].spec.seq if found else None)):
        found += page
    return found


async def test_a_tick_fires_once_in_a_thousand_rounds(postgres_url: str) -> None:
    wall, rand = Moment(START), random.Random(7)
    async with open_storage(postgres_url) as one, open_storage(postgres_url) as two:
        stores = [DyingStore(storage.schedules, rand) for storage in (one, two)]
        async with replica(one, stores[0], "one", wall) as first, replica(two, stores[1], "two", wall) as second:
            body = b'{"schedule_id": "each", "cron": "* * * * *", "catch_up": "all", "task": {"task_type": "work"}}'
            await first.create(read_schedule(body), "boss")
            for _ in range(ROUNDS):
                wall.now += MINUTE
                await asyncio.gather(first.look(), second.look())
            while await first.look():
                pass
        tasks = await everything(one)
        ticks = sorted(json.loads(task.spec.metadata)["scheduled_at"] for task in tasks)
        due = int(START // MINUTE + 1) * MINUTE
        assert ticks == [due + MINUTE * n for n in range(ROUNDS)]
        assert {(task.spec.principal, task.spec.type) for task in tasks} == {("boss", "work")}
        stored = await one.schedules.get("each")
        assert stored is not None
        assert stored.runs == ROUNDS
        assert stored.last_error == ""


async def test_a_changed_template_makes_no_second_task_of_a_tick(sqlite_url: str) -> None:
    wall = Moment(START)
    async with open_storage(sqlite_url) as storage, replica(storage, storage.schedules, "one", wall) as schedules:
        body = b'{"schedule_id": "s", "interval": 60, "task": {"task_type": "work"}}'
        created = await schedules.create(read_schedule(body), "boss")
        wall.now += MINUTE
        await schedules.look()
        there = await storage.schedules.get("s")
        assert there is not None
        # As if another replica had read it before the tick and the change, and is late.
        await storage.schedules.delete("s")
        await storage.schedules.add(created)
        await schedules.put("s", read_schedule(body.replace(b"work", b"other")))
        changed = await schedules.get("s")
        late = replace(changed, tick=created.tick, next_run_at=created.tick, version=changed.version + 1)
        assert await storage.schedules.save(late, changed.version)
        await schedules.look()
        assert (await schedules.get("s")).last_task == there.last_task
        assert len(await everything(storage)) == 1


async def test_a_refused_task_is_told_and_stops_nothing(sqlite_url: str) -> None:
    wall = Moment(START)
    async with open_storage(sqlite_url) as storage, replica(storage, storage.schedules, "one", wall) as schedules:
        bad = b'{"schedule_id": "a", "interval": 60, "task": {"task_type": "work", "dependencies": ["nobody"]}}'
        good = b'{"schedule_id": "b", "interval": 60, "task": {"task_type": "work"}}'
        for body in (bad, good):
            await schedules.create(read_schedule(body), "boss")
        wall.now += MINUTE
        assert await schedules.look() == 2
        refused, taken = await schedules.get("a"), await schedules.get("b")
        assert "there is no task 'nobody'" in refused.last_error
        assert (refused.failures, refused.runs, taken.failures, taken.runs) == (1, 0, 0, 1)
        assert refused.next_run_at == taken.next_run_at == wall.now + MINUTE
