"""`EventLog` on every store."""

from __future__ import annotations

import asyncio
import math

import asyncpg
import pytest

from orchestrator.ports.event_log import EventBatch
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def batch(at: float, body: bytes = b"body", count: int = 1) -> EventBatch:
    return EventBatch(0, at, count, body)


async def test_what_was_written_is_read_in_its_order(storage: Storage) -> None:
    log = storage.event_log
    head = await log.head(begins=True)
    numbers = [
        await log.append("a", serial, batch(float(serial), bytes([serial]) * 3, serial)) for serial in range(1, 6)
    ]
    whole = await log.read(head.last, 10)
    assert numbers == sorted(set(numbers))
    assert [one.number for one in whole] == numbers
    assert [(one.at, one.count, one.body) for one in whole] == [(n, n, bytes([n]) * 3) for n in range(1, 6)]
    assert await log.read(numbers[1], 2) == whole[2:4]
    assert await log.read(numbers[-1], 2) == ()
    assert await log.head() == await log.head(begins=True) or (await log.head()).last > numbers[-1]


async def test_a_batch_is_written_once(storage: Storage) -> None:
    log = storage.event_log
    first = await log.append("a", 1, batch(1))
    assert await log.append("a", 1, batch(1)) == 0
    assert await log.append("b", 1, batch(2)) == first + 1
    assert await log.append("a", 2, batch(3)) == first + 2
    assert [one.number for one in await log.read(0, 10)] == [first, first + 1, first + 2]


async def test_the_place_of_a_moment(storage: Storage) -> None:
    log = storage.event_log
    numbers = [await log.append("a", serial, batch(serial * 10.0)) for serial in range(1, 4)]
    assert await log.before(10.0) == 0
    assert await log.before(10.5) == numbers[0]
    assert await log.before(1e9) == numbers[-1]


async def test_old_batches_are_forgotten_by_age_and_by_size(storage: Storage) -> None:
    log = storage.event_log
    numbers = [await log.append("a", serial, batch(serial * 10.0, b"x" * 100)) for serial in range(1, 11)]
    assert (await log.head()).size == 1_000
    assert await log.prune(0.0, 1_000, 5) == 0
    assert await log.prune(25.0, 10_000, 50) == 2
    head = await log.head()
    assert (head.forgotten, head.size, head.last) == (numbers[1], 800, numbers[-1])
    assert await log.prune(0.0, 300, 3) == 3  # no more than were asked for
    assert await log.prune(0.0, 300, 50) == 2
    assert [one.number for one in await log.read(0, 50)] == numbers[-3:]
    assert await log.before(5.0) == numbers[-4]
    assert await log.append("a", 11, batch(110)) == numbers[-1] + 1


async def test_replicas_that_forget_at_once_count_each_batch_once(postgres_url: str) -> None:
    async with open_storage(postgres_url) as one, open_storage(postgres_url) as two:
        logs = [one.event_log, two.event_log]
        for serial in range(1, 41):
            await logs[0].append("a", serial, batch(float(serial), b"x" * serial))
        gone = await asyncio.gather(*(logs[turn % 2].prune(turn * 2.5, 10_000, 50) for turn in range(1, 9)))
        left = await one.event_log.read(0, 50)
        head = await one.event_log.head()
    assert (sum(gone), [one.at for one in left]) == (19, [float(at) for at in range(20, 41)])
    assert (head.size, head.forgotten) == (sum(range(20, 41)), left[0].number - 1)


async def test_forgetting_keeps_nobody_waiting_who_tells(postgres_url: str) -> None:
    """Not even while it waits itself, for a row that somebody else holds."""
    url = postgres_url.replace("postgresql+asyncpg", "postgresql")
    async with open_storage(postgres_url) as storage:
        log = storage.event_log
        for serial in range(1, 4):
            await log.append("a", serial, batch(float(serial)))
        other, watching = await asyncpg.connect(url), await asyncpg.connect(url)
        try:
            async with other.transaction():
                await other.execute("SELECT number FROM event_batches FOR UPDATE")
                forgetting = asyncio.create_task(log.prune(10.0, 10_000, 50))
                async with asyncio.timeout(20):
                    while not await watching.fetchval(WAITING):  # noqa: ASYNC110 - another process is asked
                        await asyncio.sleep(0.01)
                async with asyncio.timeout(5):
                    assert await log.append("a", 4, batch(20.0))
                assert not forgetting.done()
            assert await forgetting == 3
        finally:
            await other.close()
            await watching.close()


async def test_who_ended_without_a_word_is_counted_once(storage: Storage) -> None:
    log = storage.event_log
    for owner in ("a", "b", "c"):
        await log.append(owner, 1, batch(5.0))
    await log.leave("b")
    assert await log.lost("c", 5.0, alone=True) == 0  # nobody is silent for so long
    assert await log.lost("c", math.inf, alone=True) == 1
    assert await log.lost("c", math.inf, alone=True) == 0


async def test_replicas_with_a_lease_are_not_lost(postgres_url: str) -> None:
    async with open_storage(postgres_url) as storage:
        log = storage.event_log
        for owner in ("alive", "gone", "me"):
            await log.append(owner, 1, batch(5.0))
        await storage.ledger.take_over("alive", seconds=60.0)
        assert await log.lost("me", math.inf, alone=False) == 1
        assert await log.lost("me", math.inf, alone=False) == 0


async def test_a_reader_beside_many_writers_skips_nothing(postgres_url: str) -> None:
    """Numbers are in the order of the commits: what a reader has passed does not appear behind it."""
    seen: list[int] = []
    async with open_storage(postgres_url) as first, open_storage(postgres_url) as second:
        logs = [first.event_log, second.event_log]

        async def write(place: int) -> None:
            for serial in range(1, 41):
                await logs[place % 2].append(f"writer-{place}", serial, batch(1.0))

        writing = asyncio.gather(*(write(place) for place in range(6)))
        while not writing.done() or (await first.event_log.head()).last > len(seen):
            seen += [one.number for one in await second.event_log.read(seen[-1] if seen else 0, 7)]
        await writing
    assert seen == list(range(1, 241))


async def test_numbers_leap_when_a_file_is_opened_again(sqlite_url: str) -> None:
    """A power failure may have cost batches that were told: their numbers are not used again."""
    async with open_storage(sqlite_url) as storage:
        assert (await storage.event_log.head(begins=True)).last == 0
        first = await storage.event_log.append("a", 1, batch(1.0))
    async with open_storage(sqlite_url) as storage:
        head = await storage.event_log.head(begins=True)
        again = await storage.event_log.append("b", 1, batch(1.0))
        assert [one.number for one in await storage.event_log.read(0, 5)] == [first, again]
    assert head.last > first + 1_000
    assert again == head.last + 1


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_a_body_of_any_size(storage: Storage, size: int) -> None:
    await storage.event_log.append("a", 1, batch(1.0, b"\0" * size))
    [one] = await storage.event_log.read(0, 1)
    assert one.body == b"\0" * size
