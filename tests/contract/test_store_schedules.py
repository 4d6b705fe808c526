from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.schedule import CatchUp, Schedule
from orchestrator.ports.store import Storage

PLAIN = Schedule("plain", b"{}")
FULL = Schedule(
    id="Full.~-1",
    task='{"task_type": "größe", "input_data": ["🚚"]}'.encode(),
    cron="*/5 * * * *",
    every=2.5,
    zone="Europe/Berlin",
    catch_up=CatchUp.ALL,
    jitter=0.25,
    paused=True,
    principal="boss",
    created_at=1_763_690_000.123456,
    anchor=1.5,
    tick=1_763_690_100.0,
    next_run_at=1_763_690_100.125,
    last_run_at=1_763_690_050.5,
    last_task="task_0123456789ab",
    last_error="no '); DROP TABLE schedules",
    runs=2**40,
    failures=3,
    missed=4,
    caught_up=5,
    version=6,
)


async def test_every_field_comes_back_as_it_was_put(storage: Storage) -> None:
    for schedule in (FULL, PLAIN):
        await storage.schedules.add(schedule)
    assert await storage.schedules.get(FULL.id) == FULL
    assert await storage.schedules.list(10) == (FULL, PLAIN)
    assert type((await storage.schedules.list(1))[0].catch_up) is CatchUp
    assert await storage.schedules.list(10, FULL.id) == (PLAIN,)
    assert await storage.schedules.list(10, "\0") == ()
    with pytest.raises(Conflict):
        await storage.schedules.add(replace(FULL, version=9))


async def test_an_unknown_one(storage: Storage) -> None:
    assert await storage.schedules.get("x") is None
    assert await storage.schedules.get("\0") is None
    assert not await storage.schedules.delete("x")
    assert not await storage.schedules.delete("x\0")
    assert not await storage.schedules.save(PLAIN, 1)
    assert await storage.schedules.next_due() is None


async def test_ids_are_in_the_order_of_their_bytes(storage: Storage) -> None:
    ids = ["B", "a", "C", "b.1", "b-1", "_"]
    for one in ids:
        await storage.schedules.add(replace(PLAIN, id=one))
    assert [one.id for one in await storage.schedules.list(10)] == sorted(ids)
    assert [one.id for one in await storage.schedules.list(2, "C")] == sorted(ids)[2:4]


async def test_due_ones_come_most_overdue_first(storage: Storage) -> None:
    for name, due in (("later", 30.0), ("b", 10.0), ("a", 20.0), ("never", None)):
        await storage.schedules.add(replace(PLAIN, id=name, next_run_at=due))
    assert await storage.schedules.next_due() == 10.0
    assert [one.id for one in await storage.schedules.due(20.0, 10)] == ["b", "a"]
    assert [one.id for one in await storage.schedules.due(20.0, 1)] == ["b"]


async def test_of_two_changes_of_one_version_one_is_made(storage: Storage) -> None:
    await storage.schedules.add(PLAIN)
    assert await storage.schedules.save(replace(PLAIN, runs=1, version=2), 1)
    assert not await storage.schedules.save(replace(PLAIN, runs=7, version=2), 1)
    assert await storage.schedules.get("plain") == replace(PLAIN, runs=1, version=2)
    assert await storage.schedules.delete("plain")
    assert not await storage.schedules.save(replace(PLAIN, version=3), 2)


@pytest.mark.parametrize(
    "bad",
    [
        replace(PLAIN, id="x" * 513),
        replace(PLAIN, id="a\0"),
        replace(PLAIN, task=b"\xff"),
        replace(PLAIN, task=b"\0"),
        replace(PLAIN, zone="\ud800"),
        replace(PLAIN, anchor=float("nan")),
        replace(PLAIN, runs=2**63),
    ],
)
async def test_what_no_database_can_hold_is_refused(storage: Storage, bad: Schedule) -> None:
    with pytest.raises(InvalidRequest):
        await storage.schedules.add(bad)
    with pytest.raises(InvalidRequest):
        await storage.schedules.save(bad, 1)
    assert await storage.schedules.list(10) == ()
