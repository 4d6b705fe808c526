"""When changes are written and told. What follows a change may break; the writing of other changes goes on, and the
fault is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.domain.errors import InvalidRequest, OrchestratorError, StorageUnavailable, UpstreamError
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.task import Task
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


class Pipelined(Held):
    """One that is asked for the next transaction before it has ended one. Of the first, `fails` becomes; or it is
    `late`, and written in another way than it was asked for."""

    def __init__(self, fails: OrchestratorError | None = None, *, late: bool = False) -> None:
        super().__init__()
        self.pipeline = self
        self.behind: list[bool] = []  # of each that it was asked for
        self.order: list[str] = []
        self._fails, self._late = fails, late
        self._turn = asyncio.Lock()
        self._broken = False

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        self.behind.append(False)
        async with self._turn:
            self._broken, self._late = self._fails is not None or self._late, False
            if self._fails is not None:
                error, self._fails = self._fails, None
                self.begun.put_nowait([change.task.id for change in changes])
                await self.may.acquire()
                raise error
            return await super().commit(changes, news)

    async def commit_behind(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict] | None:
        self.behind.append(True)
        async with self._turn:
            if not self._broken:
                return await super().commit(changes, news)
            await asyncio.sleep(0.2)  # it may be that it answers late
            self.order.append("nothing written")
            return None

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        self.order.append("read")
        return await super().get(ids)


@asynccontextmanager
async def at_work(ledger: Pipelined, heard: list[tuple[str, Answer]]) -> AsyncIterator[Callable[[str], None]]:
    """A writer that has `a` written; gives what puts another change. Returns when all of them are told."""
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())

    def put(name: str) -> None:
        writer.put(CallbackWrite(queued(name), lambda answer: heard.append((name, answer))))

    try:
        put("a")
        assert await asyncio.wait_for(ledger.begun.get(), 5) == ["a"]
        yield put
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def asked(ledger: Pipelined, times: int) -> None:
    async with asyncio.timeout(5):
        while len(ledger.behind) < times:  # noqa: ASYNC110 - what it waits for is the other tasks of this loop
            await asyncio.sleep(0)


async def test_the_next_transaction_is_on_its_way_before_the_last_one_is_answered() -> None:
    ledger, heard = Pipelined(), list[tuple[str, Answer]]()
    async with at_work(ledger, heard) as put:
        put("b")
        await asked(ledger, 2)
        put("c")
        put("d")
        for _ in range(20):
            await asyncio.sleep(0)
        assert ledger.behind == [False, True], "two are on their way"
        ledger.may.release()
        await asked(ledger, 3)
        assert heard == [("a", Verdict.DONE)]
        ledger.may.release()
        ledger.may.release()
    assert [ledger.begun.get_nowait() for _ in range(2)] == [["b"], ["c", "d"]]
    assert heard == [(name, Verdict.DONE) for name in "abcd"]


async def test_an_answer_is_heard_however_much_comes_meanwhile() -> None:
    ledger, heard = Pipelined(), list[tuple[str, Answer]]()
    async with at_work(ledger, heard) as put:
        ledger.may.release()
        for number in range(5_000):
            if heard:
                break
            put(f"b{number}")
            await asyncio.sleep(0)
        first = list(heard)
        for _ in range(5_000):
            ledger.may.release()
    assert first == [("a", Verdict.DONE)]


@pytest.mark.parametrize("error", [StorageUnavailable("away"), InvalidRequest("refused")], ids=["away", "refused"])
async def test_what_is_behind_one_that_fails_is_written_when_that_one_is_settled(error: OrchestratorError) -> None:
    ledger, heard = Pipelined(fails=error), list[tuple[str, Answer]]()
    async with at_work(ledger, heard) as put:
        put("b")
        await asked(ledger, 2)
        for _ in range(3):
            ledger.may.release()
    first = Verdict.DONE if isinstance(error, StorageUnavailable) else error
    assert heard == [("a", first), ("b", Verdict.DONE)]
    assert ledger.order[0] == "nothing written", "what becomes of the second is known before the first is looked for"
    assert set(await ledger.get(["a", "b"])) == ({"a", "b"} if first is Verdict.DONE else {"b"})


async def test_nothing_overtakes_what_was_behind_one_that_was_written_late() -> None:
    ledger, order = Pipelined(late=True), list[str]()
    writer = Writer(ledger)
    running = asyncio.create_task(writer.run())

    def put(name: str, times: int = 1) -> None:
        for number in range(times):
            writer.put(CallbackWrite(queued(f"{name}{number}"), lambda _: None))

    async def written() -> None:
        order.append((await asyncio.wait_for(ledger.begun.get(), 5))[0])

    try:
        put("a", MANY)
        await written()
        put("b", MANY)
        await asked(ledger, 2)
        put("c")
        ledger.may.release()
        await asked(ledger, 3)  # c is behind b, which is behind a: neither is written
        await written()
        put("d")
        for _ in range(5):
            ledger.may.release()
        await written()
        await written()
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert order == ["a0", "b0", "c0", "d0"]


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


async def test_news_do_not_overtake_those_of_a_transaction_that_is_on_its_way() -> None:
    ledger, outbox, heard = Pipelined(), Followed(), asyncio.Queue[Answer]()
    writer = Writer(ledger, outbox)
    running = asyncio.create_task(writer.run())
    try:
        for number, name in enumerate("abc", 1):
            writer.put(CallbackWrite(queued(name), heard.put_nowait))
            await asked(ledger, min(number, 2))
            outbox.followed = True
        for _ in "ab":
            ledger.may.release()
            await asyncio.wait_for(heard.get(), 5)
        await asked(ledger, 3)
        outbox.followed = False
        ledger.may.release()
        await asyncio.wait_for(writer.drained(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert ledger.behind[:2] == [False, True]
    assert ledger.news == [False, False, False], "b and c go behind the news of a, which are told later"


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
