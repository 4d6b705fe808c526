"""When changes are written and told. What follows a change may break; the writing of other changes goes on, and the
fault is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

import pytest

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.domain.errors import UpstreamError
from orchestrator.domain.task.change import Change
from orchestrator.ports.ledger import News, Verdict
from orchestrator.ports.upstream import ResponseHead
from orchestrator.services.tasks.delivery import Delivery
from orchestrator.services.tasks.events import Record
from orchestrator.services.tasks.writer import MANY, Answer, CallbackWrite, Writer
from task_samples import queued


async def test_a_callback_that_breaks_stops_no_other_change(caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer(MemoryLedger())
    heard: asyncio.Queue[Answer] = asyncio.Queue()

    def breaks(_: Answer) -> None:
        raise ValueError("what follows is broken")

    running = asyncio.create_task(writer.run())
    try:
        writer.put(CallbackWrite(queued("a"), breaks))
        writer.put(CallbackWrite(queued("b"), heard.put_nowait))
        assert await asyncio.wait_for(heard.get(), 5) is Verdict.DONE
        writer.put(CallbackWrite(queued("c"), heard.put_nowait))
        assert await asyncio.wait_for(heard.get(), 5) is Verdict.DONE
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert "what follows is broken" in caplog.text


class Counted(MemoryLedger):
    """Tells what was in each transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []

    async def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        self.commits.append([change.task.id for change in changes])
        return await super().commit(changes)


async def test_what_is_decided_at_the_same_moment_goes_into_one_transaction() -> None:
    ledger, heard = Counted(), asyncio.Queue[Answer]()
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())
    await asyncio.sleep(0)  # it waits for something to write
    try:
        writer.put(CallbackWrite(queued("new"), heard.put_nowait))
        # As the scheduler hands a new task out: after everything that happens at this moment.
        asyncio.get_running_loop().call_soon(writer.put, CallbackWrite(queued("next"), heard.put_nowait))
        for _ in range(2):
            await asyncio.wait_for(heard.get(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert ledger.commits == [["new", "next"]]


async def test_a_report_that_breaks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(status: int, body: bytes, error: UpstreamError | None) -> None:
        raise ValueError("the report is broken")

    delivery = Delivery(5.0, breaks)
    with pytest.raises(ValueError, match="the report is broken") as raised, caplog.at_level(logging.ERROR):
        delivery.on_whole(ResponseHead(200, b"", b"", 2, False), b"{}")
    delivery.broken(raised.value)  # as a connection does with what a receiver raises
    assert "the report is broken" in caplog.text


class Held(MemoryLedger):
    """Begins a transaction at once and ends it when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()
        self.may = asyncio.Semaphore(0)
        self.news: list[bool] = []

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        self.begun.put_nowait([change.task.id for change in changes])
        self.news.append(news is not None)
        await self.may.acquire()
        return await super().commit(changes)


async def test_many_are_told_while_the_next_are_written() -> None:
    ledger, heard = Held(), asyncio.Queue[Answer]()
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())
    try:
        for number in range(MANY):
            writer.put(CallbackWrite(queued(f"a{number}"), heard.put_nowait))
        assert len(await asyncio.wait_for(ledger.begun.get(), 5)) == MANY
        writer.put(CallbackWrite(queued("b"), heard.put_nowait))
        ledger.may.release()
        assert await asyncio.wait_for(ledger.begun.get(), 5) == ["b"]
        async with asyncio.timeout(5):
            told = [await heard.get() for _ in range(MANY)]
        assert told == [Verdict.DONE] * MANY
        assert heard.empty(), "b is not written yet"
        ledger.may.release()
        assert await asyncio.wait_for(heard.get(), 5) is Verdict.DONE
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_of_much_a_part_is_written_and_of_each_task_all() -> None:
    ledger, heard = Held(), list[tuple[str, Answer]]()
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())

    def put(name: str) -> None:
        writer.put(CallbackWrite(queued(name), lambda answer: heard.append((name, answer))))

    names = [f"b{number}" for number in range(10 * MANY)]
    try:
        for number in range(MANY):
            put(f"a{number}")
        await asyncio.wait_for(ledger.begun.get(), 5)
        for half in (names[: 5 * MANY], names[5 * MANY :]):
            for name in (*half, *half):  # a second change of the same task; that it comes to nothing is of no matter
                put(name)
        parts: list[list[str]] = []
        while sum(map(len, parts)) < 2 * len(names):
            ledger.may.release()
            parts.append(await asyncio.wait_for(ledger.begun.get(), 5))
        ledger.may.release()
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(parts) > 1
    assert {count for part in parts for count in Counter(part).values()} == {2}
    assert [answer for name, answer in heard if name == names[-1]] == [Verdict.DONE, Verdict.EXISTS]


async def test_few_are_told_before_the_next_are_written() -> None:
    ledger, order = Held(), list[str]()
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())
    try:
        writer.put(CallbackWrite(queued("a"), lambda _: order.append("told")))
        assert await asyncio.wait_for(ledger.begun.get(), 5) == ["a"]
        writer.put(CallbackWrite(queued("b"), lambda _: None))
        ledger.may.release()
        await asyncio.wait_for(ledger.begun.get(), 5)
        assert order == ["told"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Followed:
    """An outbox that somebody begins to follow."""

    def __init__(self) -> None:
        self.followed = False
        self.told: list[Record] = []

    def rides(self) -> bool:
        return self.followed

    def at(self) -> float:
        return 1.0

    def tell_all(self, records: list[Record]) -> None:
        self.told += records

    def rode(self, number: int, records: list[Record]) -> None:
        raise AssertionError("the ledger takes no news")


async def test_news_do_not_overtake_those_that_are_told_later() -> None:
    ledger, outbox, heard = Held(), Followed(), asyncio.Queue[Answer]()
    writer = Writer(ledger, outbox)
    running = asyncio.create_task(writer.run())
    try:
        for number in range(MANY):
            writer.put(CallbackWrite(queued(f"a{number}"), heard.put_nowait))
        await asyncio.wait_for(ledger.begun.get(), 5)
        outbox.followed = True
        for name in ("b", "c"):
            writer.put(CallbackWrite(queued(name), heard.put_nowait))
            ledger.may.release()
            await asyncio.wait_for(ledger.begun.get(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(outbox.told) == MANY + 1
    assert ledger.news == [False, False, True], "b goes behind the news of a, which wait in the outbox"


async def test_what_follows_from_half_is_written_while_the_other_half_is_told() -> None:
    ledger, all_a = Held(), asyncio.Event()
    writer, loop = Writer(ledger), asyncio.get_running_loop()
    running = asyncio.create_task(writer.run())

    def put(name: str) -> None:
        def told(_: Answer) -> None:
            if name.startswith("a"):  # its client hears of it, and comes with the next one
                loop.call_soon(put, name.replace("a", "b"))
            if name == f"a{2 * MANY - 1}":
                all_a.set()

        writer.put(CallbackWrite(queued(name), told))

    try:
        for number in range(2 * MANY):
            put(f"a{number}")
        await asyncio.wait_for(ledger.begun.get(), 5)
        ledger.may.release()
        assert await asyncio.wait_for(ledger.begun.get(), 5) == [f"b{number}" for number in range(MANY)]
        await asyncio.wait_for(all_a.wait(), 5)  # the ledger still is at work
        ledger.may.release()
        assert await asyncio.wait_for(ledger.begun.get(), 5) == [f"b{number}" for number in range(MANY, 2 * MANY)]
        ledger.may.release()
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
