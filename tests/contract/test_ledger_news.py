"""Events that are written with the changes that they tell of: where both are in one database, of what was made only."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import aclosing, closing

import asyncpg

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.ports.event_log import EventBatch
from orchestrator.ports.ledger import Verdict
from orchestrator.ports.store import Storage
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.events import Event, unpacked
from orchestrator.services.tasks.writer import CallbackWrite, Writer
from orchestrator.storage import open_storage
from task_samples import NOW, change, keep, queued


class Noted:
    """`News` that keeps what it was asked."""

    def __init__(self) -> None:
        self.number = 0
        self.asked: list[list[Verdict]] = []

    def of(self, verdicts: Sequence[Verdict]) -> EventBatch | None:
        self.asked.append(list(verdicts))
        done = list(verdicts).count(Verdict.DONE)
        return EventBatch(0, NOW, done, b"body") if done else None


async def test_news_have_the_next_number_or_none(storage: Storage, storage_url: str) -> None:
    [task] = await keep(storage.ledger, queued("a"))
    before = (await storage.event_log.head(begins=True)).last
    news = Noted()
    changes = [change(task, lifecycle.assign(task, "n", NOW)), Change(queued("b"))]
    assert await storage.ledger.commit(changes, news) == [Verdict.DONE, Verdict.DONE]
    kept = await storage.event_log.read(before, 10)
    if storage_url == "memory://":
        assert (news.number, news.asked, kept) == (0, [], ())
        return
    assert news.asked == [[Verdict.DONE, Verdict.DONE]]
    assert kept == (EventBatch(news.number, NOW, 2, b"body"),)
    assert (await storage.event_log.head()).last == news.number
    assert await storage.event_log.append("me", 1, EventBatch(0, NOW, 1, b"next")) == news.number + 1


async def test_news_of_a_part_go_along_on_sqlite(storage: Storage, storage_url: str) -> None:
    """On PostgreSQL the row that gives numbers would be held between two statements."""
    [task] = await keep(storage.ledger, queued("a"))
    before = (await storage.event_log.head(begins=True)).last
    news = Noted()
    changes = [Change(queued("a")), change(task, lifecycle.assign(task, "n", NOW)), Change(queued("b"))]
    assert await storage.ledger.commit(changes, news) == [Verdict.EXISTS, Verdict.DONE, Verdict.DONE]
    kept = await storage.event_log.read(before, 10)
    if storage_url.startswith("sqlite"):
        assert news.asked[-1] == [Verdict.EXISTS, Verdict.DONE, Verdict.DONE]
        assert kept == (EventBatch(news.number, NOW, 2, b"body"),)
    else:
        assert (news.number, kept) == (0, ())


async def test_replicas_that_tell_with_their_changes_use_each_number_once(postgres_url: str) -> None:
    async with open_storage(postgres_url) as one, open_storage(postgres_url) as two:

        async def told(storage: Storage, name: str) -> list[int]:
            numbers = []
            for place in range(30):
                news = Noted()
                await storage.ledger.commit([Change(queued(f"{name}{place}"))], news)
                numbers.append(news.number)
            return numbers

        first, second = await asyncio.gather(told(one, "a"), told(two, "b"))
        kept = [batch.number for batch in await one.event_log.read(0, 100)]
    assert sorted(first + second) == kept == list(range(kept[0], kept[0] + 60))
    assert first == sorted(first)
    assert second == sorted(second)


async def test_where_nothing_is_made_nothing_is_told(storage: Storage) -> None:
    await keep(storage.ledger, queued("a"))
    before = (await storage.event_log.head(begins=True)).last
    news = Noted()
    assert await storage.ledger.commit([Change(queued("a"))], news) == [Verdict.EXISTS]
    assert news.number == 0
    assert await storage.event_log.read(before, 10) == ()


async def test_who_follows_hears_of_a_task_without_another_write(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        bulletin = Bulletin(lambda: NOW, storage.event_log, "me", alone=True)
        await bulletin.start()
        writer = Writer(storage.ledger, bulletin)
        running = asyncio.create_task(writer.run())
        before = (await storage.event_log.head()).last
        try:
            async with asyncio.timeout(20), aclosing(bulletin.follow(None, asyncio.Event())) as following:
                first = asyncio.ensure_future(anext(following))
                await asyncio.sleep(0)  # it follows
                writer.put(CallbackWrite(queued("a"), lambda _: None))
                heard = await first
            assert isinstance(heard, Event)
            assert (heard.type, heard.data["task_id"]) == ("task_submitted", "a")
            [batch] = await storage.event_log.read(before, 10)
            assert unpacked(batch.body)[0][2] == "a"
            assert await _written_apart(database_url) == 0, "nothing was written but the transaction of the task"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await bulletin.stop()


async def _written_apart(database_url: str) -> int:
    """How many processes have written events by themselves."""
    question = "SELECT count(*) FROM event_writers"
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            [count] = connection.execute(question).fetchone()
    else:
        server = await asyncpg.connect(database_url)
        count = await server.fetchval(question)
        await server.close()
    return int(count)
