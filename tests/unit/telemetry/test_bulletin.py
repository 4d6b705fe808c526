"""Events between those who tell them and those who follow, on a log that misbehaves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from orchestrator.adapters.memory.event_log import MemoryEventLog
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import TaskState
from orchestrator.ports.event_log import EventBatch, EventHead
from orchestrator.services.tasks import bulletin as module
from orchestrator.services.tasks.bulletin import Bulletin, Missed
from orchestrator.services.tasks.events import EVENTS, FIELDS, Event, event, packed, task_record, unpacked
from task_samples import queued


class Log(MemoryEventLog):
    """A log that may be away, and whose answers may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.away = asyncio.Event()
        self.refused = asyncio.Event()
        self.answers_lost = 0
        self.appends = 0

    async def append(self, owner: str, serial: int, batch: EventBatch) -> int:
        self.appends += 1
        if self.away.is_set():
            self.refused.set()
            raise StorageUnavailable("away")
        number = await super().append(owner, serial, batch)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StorageUnavailable("the answer is lost")
        return number

    async def head(self, *, begins: bool = False) -> EventHead:
        if self.away.is_set():
            raise StorageUnavailable("away")
        return await super().head(begins=begins)


@asynccontextmanager
async def running(log: Log, owner: str = "me", *, alone: bool = True) -> AsyncIterator[Bulletin]:
    ticks = itertools.count(1)
    bulletin = Bulletin(lambda: float(next(ticks)), log, owner, alone=alone)
    await bulletin.start()
    try:
        yield bulletin
    finally:
        log.away.clear()
        await bulletin.stop()


def tell(bulletin: Bulletin, *nodes: int) -> None:
    for node in nodes:
        bulletin.tell(("node_registered", 1.0, f"n{node}"))


async def heard(bulletin: Bulletin, after: int | None, count: int, pause: float = 0.0) -> list[str]:
    """The names of nodes, `missed` where events are missing."""
    found: list[str] = []
    async with asyncio.timeout(20), aclosing(bulletin.follow(after, asyncio.Event())) as following:
        async for one in following:
            if isinstance(one, Missed):
                found.append("missed")
            elif isinstance(one, Event):
                found.append(one.data["node_id"])
            if len(found) >= count:
                break
            if pause:
                await asyncio.sleep(pause)
    return found


def names(*nodes: int) -> list[str]:
    return [f"n{node}" for node in nodes]


async def test_a_follower_hears_what_is_told_from_then_on() -> None:
    async with running(Log()) as bulletin:
        tell(bulletin, 1, 2)  # not written down yet
        following = asyncio.create_task(heard(bulletin, None, 3))
        await asyncio.sleep(0)
        tell(bulletin, 3, 4, 5)
        assert await following == names(3, 4, 5)
        assert await heard(bulletin, 0, 5) == names(1, 2, 3, 4, 5)


async def test_what_is_told_together_is_written_together() -> None:
    log = Log()
    async with running(log) as bulletin:
        tell(bulletin, *range(1_000))
        assert await heard(bulletin, 0, 1_000) == names(*range(1_000))
    assert log.appends == 1


async def test_the_end_waits_for_what_was_told_before_it() -> None:
    stopping = asyncio.Event()
    async with running(Log()) as bulletin:
        following = bulletin.follow(None, stopping)
        tell(bulletin, 1)
        stopping.set()
        async with asyncio.timeout(5):
            assert [one.data["node_id"] async for one in following if isinstance(one, Event)] == names(1)


async def test_a_log_that_is_away_delays_events(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    async with running(log) as bulletin:
        log.away.set()
        tell(bulletin, 1)
        following = asyncio.create_task(heard(bulletin, 0, 3))
        async with asyncio.timeout(5):
            await log.refused.wait()
        tell(bulletin, 2, 3)
        log.away.clear()
        assert await following == names(1, 2, 3)
    assert "events_not_written" in caplog.text


async def test_a_lost_answer_tells_nothing_twice() -> None:
    log = Log()
    log.answers_lost = 2
    async with running(log) as bulletin:
        tell(bulletin, 1)
        assert await heard(bulletin, 0, 1) == names(1)
        tell(bulletin, 2)
        assert await heard(bulletin, 0, 2) == names(1, 2)
        assert len(await log.read(0, 10)) == 2


async def test_too_many_events_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    log = Log()
    async with running(log) as bulletin:
        following = bulletin.follow(None, asyncio.Event())
        tell(bulletin, *range(15))
        found: list[object] = []
        async with asyncio.timeout(5), aclosing(following):
            async for one in following:
                found.append(one.data["node_id"] if isinstance(one, Event) else one)
                if len(found) == 11:
                    tell(bulletin, 15)
                if len(found) == 12:
                    break
    assert found[:10] == names(*range(10))
    assert isinstance(found[10], Missed)
    assert (found[10].count, found[10].reason) == (5, "too many events at once")
    assert found[11] == "n15"


async def test_a_slow_follower_reads_what_memory_no_longer_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 50)
    async with running(Log()) as bulletin:
        following = asyncio.create_task(heard(bulletin, 0, 400, pause=0.001))
        for start in range(0, 400, 40):
            tell(bulletin, *range(start, start + 40))
            await asyncio.sleep(0.03)
        assert await following == names(*range(400))


async def test_forgotten_events_are_missed_once() -> None:
    log = Log()
    async with running(log) as bulletin:
        tell(bulletin, 0)
        [first] = [one async for one in _first(bulletin)]
        for node in (1, 2):
            tell(bulletin, node)
            await heard(bulletin, 0, node + 1)
        await log.prune(1e9, 0, 2)
    async with running(log, "later") as bulletin:
        assert await heard(bulletin, first.number, 2) == ["missed", "n2"]
        assert await heard(bulletin, 0, 1) == ["n2"]


async def _first(bulletin: Bulletin) -> AsyncIterator[Event]:
    async with aclosing(bulletin.follow(0, asyncio.Event())) as following:
        async for one in following:
            if isinstance(one, Event):
                yield one
                return


async def test_two_processes_tell_the_same_order() -> None:
    log = Log()
    async with running(log, "one", alone=False) as one, running(log, "two", alone=False) as two:
        looking = [asyncio.create_task(each.run(lambda seconds: asyncio.sleep(seconds / 50))) for each in (one, two)]
        following = [asyncio.create_task(heard(each, 0, 60)) for each in (one, two)]
        for node in range(0, 60, 2):
            tell(one, node)
            tell(two, node + 1)
            await asyncio.sleep(0.005)
        here, there = await asyncio.gather(*following)
        assert here == there
        assert sorted(here) == sorted(names(*range(60)))
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


async def test_an_id_from_elsewhere_or_nowhere() -> None:
    log = Log()
    async with running(log, "one", alone=False) as one, running(log, "two", alone=False) as two:
        tell(one, 1)
        [known] = [event async for event in _first(one)]
        following = asyncio.create_task(heard(two, known.number, 1))  # it has not looked yet
        await asyncio.sleep(0.01)
        tell(two, 2)
        assert await following == names(2)
        lost = asyncio.create_task(heard(two, 1 << 62, 2))
        await asyncio.sleep(0.01)
        tell(two, 3)
        assert await lost == ["missed", "n3"]


def test_every_event_has_its_fields() -> None:
    assert FIELDS.keys() == EVENTS.keys() | {"missed"}
    for name, meaning in EVENTS.items():
        for field in FIELDS[name]:
            assert f"`{field}`" in meaning or field in (
                "task_type",
                "node_id",
                "attempt",
                "state",
                "retry_count",
                "error",
            )


def test_a_task_from_its_beginning_to_its_end() -> None:
    new = queued("t")
    assigned = lifecycle.assign(new, "n", 1.0)
    begun = lifecycle.start(assigned, 2.0)
    part = lifecycle.report(begun, 0.5, "half")
    done = lifecycle.succeed(part, 3.0, b"1")
    failed = lifecycle.fail(begun, 3.0, "no", 0.5, final=True)
    steps = [(new, None), (assigned, new), (begun, assigned), (part, begun), (done, part), (failed, begun)]
    records = [task_record(now, before, 9.0) for now, before in steps]
    events = [event(1, record) for record in unpacked(packed([one for one in records if one is not None]))]
    found = [(one.type, one.at, dict(one.data)) for one in events if one is not None]
    of = {"task_id": "t", "task_type": "noop"}
    run = {**of, "node_id": "n", "attempt": 1}
    assert found == [
        ("task_submitted", 9.0, {**of, "priority": new.spec.priority}),
        ("task_assigned", 9.0, run),
        ("task_started", 9.0, run),
        ("task_progress", 9.0, {**run, "progress": 0.5, "message": "half"}),
        ("task_completed", 9.0, {**run, "execution_time": done.execution_time}),
        ("task_failed", 9.0, {**run, "error": "no", "state": TaskState.FAILED.value, "retry_count": 0}),
    ]
    assert task_record(assigned, assigned, 9.0) is None


def test_an_event_of_another_release() -> None:
    assert event(1, ("gossip", 1.0, "x")) is None
    longer = event(1, ("node_registered", 1.0, "n", "a field of a later release"))
    assert longer is not None
    assert longer.data == {"node_id": "n"}


@pytest.mark.parametrize("count", [0, 1, 8, 5_000])
def test_records_of_any_number(count: int) -> None:
    records = [["node_registered", 1.5, f"größe {place}"] for place in range(count)]
    assert unpacked(packed(records)) == records
