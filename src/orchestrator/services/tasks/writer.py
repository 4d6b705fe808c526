"""Writes changes of tasks down, all that wait at once in one transaction: the commit costs the same for one and for a
hundred."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from orchestrator.domain.errors import OrchestratorError, StorageUnavailable
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.task import Task
from orchestrator.ports.event_log import EventBatch
from orchestrator.ports.ledger import Ledger, Verdict
from orchestrator.services.tasks.events import Record, packed, task_record

AT_ONCE = 3_000  # changes in one transaction
MANY = 32  # changes that take longer to tell of than it takes to have the next ones written
ON_THEIR_WAY = 2  # transactions that the ledger is asked for at once
FAR = 1 << 30
FEW = 1_000  # changes of which half is enough to be worth a transaction; of more, what follows comes by itself
LONGEST_PAUSE = 5.0  # seconds between two tries to reach the ledger
DONE: Final = Verdict.DONE  # an enum's member costs a call where it is looked up by the class
_log = logging.getLogger("orchestrator.tasks")

Answer = Verdict | OrchestratorError


class Listener(ABC):
    """Hears what became of something."""

    __slots__ = ()

    @abstractmethod
    def hear(self, answer: Answer) -> None: ...


class Write(Change, ABC):
    """A change that waits to be written, from `old` to `task`. While the ledger is away, one that `insists` is tried
    again until it is known what became of it; another one ends with StorageUnavailable."""

    __slots__ = ("insists", "old")

    def __init__(self, task: Task, old: Task | None = None, *, insists: bool = True) -> None:
        super().__init__(task, old.version if old is not None else 0, old.state if old is not None else None)
        self.old = old
        self.insists = insists

    @abstractmethod
    def written(self, answer: Answer) -> None:
        """Called with the verdict when the change is durable."""


class CallbackWrite(Write):
    """A write that calls a function."""

    __slots__ = ("_done",)

    def __init__(self, task: Task, done: Callable[[Answer], None], *, insists: bool = True) -> None:
        super().__init__(task, insists=insists)
        self._done = done

    def written(self, answer: Answer) -> None:
        self._done(answer)


class Outbox(Protocol):
    """What is told to the world of changes that are written."""

    def rides(self) -> bool:
        """Whether events are wanted soon, and none wait that were told before: then they may go with the changes."""

    def at(self) -> float:
        """This moment, in seconds since the epoch."""

    def tell_all(self, records: list[Record]) -> None:
        """Has events written down later."""

    def rode(self, number: int, records: list[Record]) -> None:
        """These were written with changes, under this number."""


class _News:
    """`News` of what is written."""

    __slots__ = ("_at", "_batch", "number", "records")

    def __init__(self, batch: list[Write], at: float) -> None:
        self.number = 0
        self.records: list[Record] = []
        self._batch = batch
        self._at = at

    def of(self, verdicts: list[Verdict]) -> EventBatch | None:
        self.records = _records(self._batch, verdicts, self._at)
        return EventBatch(0, self._at, len(self.records), packed(self.records)) if self.records else None


class _Written:
    """What became of changes. Of the first of them it was `told`."""

    __slots__ = ("batch", "news", "told", "verdicts")

    def __init__(self, batch: list[Write], verdicts: list[Verdict], news: _News | None) -> None:
        self.batch = batch
        self.verdicts = verdicts
        self.news = news
        self.told = 0

    def left(self) -> int:
        return len(self.batch) - self.told


class _Asked:
    """Changes that the ledger is asked to write."""

    __slots__ = ("answer", "batch", "news")

    def __init__(self, batch: list[Write], news: _News | None, answer: asyncio.Future[list[Verdict] | None]) -> None:
        self.batch = batch
        self.news = news
        self.answer = answer


class Writer:
    """One per process. Changes are written in the order in which they were put."""

    def __init__(self, ledger: Ledger, outbox: Outbox | None = None) -> None:
        self._ledger = ledger
        self._pipeline = ledger.pipeline
        self._outbox = outbox
        self._waiting: list[Write] = []
        self._asked: deque[_Asked] = deque()  # in the order in which it is written and told
        self._broken = False  # one of those was not written as it was asked for, nor was what is behind it
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, write: Write) -> None:
        self._waiting.append(write)
        if len(self._waiting) == 1:
            self._idle.clear()
            self._more.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if not self._asked:
                    await self._something()
                    await asyncio.sleep(0)  # what is decided at this moment goes along: a new task with its node
                    self._ask(self._take())
                written = await self._answered()
                while written.left() >= MANY:
                    if written.left() < FEW:
                        await self._begin_to_tell(written)
                    if not self._waiting and not self._asked:
                        break
                    written = await self._write_before_telling(written)
                self._tell(written)
                if not self._waiting and not self._asked:
                    self._idle.set()
        finally:
            for one in self._asked:
                one.answer.cancel()

    async def _something(self) -> None:
        """Returns when something waits."""
        while not self._waiting:
            self._more.clear()  # an answer may have set it
            await self._more.wait()

    async def _begin_to_tell(self, written: _Written) -> None:
        """Where nothing waits, half is told, and what comes of it is heard: it is written while the other half is told.
        Otherwise all would be told and all be written by turns, and the ledger and who tells wait for each other."""
        await _heard()
        if len(self._waiting) < MANY:
            self._tell(written, written.left() // 2)
            await _heard()

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        await self._idle.wait()

    async def _write_before_telling(self, last: _Written) -> _Written:
        """Tells of `last` while the ledger is at work on what comes after it: to tell of hundreds of changes takes as
        long as to write them."""
        if self._waiting and self._room():
            # Of much only a part, or the ledger and who tells would wait for each other by turns: what comes of many
            # that are told is many again.
            self._ask(self._take((len(self._waiting) + last.left()) // 2 + MANY), last)
            await asyncio.sleep(0)  # the ledger has it now
        self._tell(last)
        return await self._answered()

    def _room(self) -> bool:
        """Whether the ledger can be asked for more. What is behind one that was not written comes before that."""
        if not self._asked:
            return True
        return self._pipeline is not None and not self._broken and len(self._asked) < ON_THEIR_WAY

    def _ask(self, batch: list[Write], untold: _Written | None = None) -> None:
        """Has the ledger write the batch, behind what it is asked for already. Of `untold` it was not told yet."""
        news = self._news(batch, untold)
        commit = self._pipeline.commit_behind if self._asked and self._pipeline is not None else self._ledger.commit
        writing = commit(batch, news) if news is not None else commit(batch)
        self._asked.append(_Asked(batch, news, asyncio.ensure_future(writing)))

    async def _answered(self) -> _Written:
        """What became of the changes that the ledger was asked for first."""
        first = self._asked[0]
        await self._ask_for_more(first.answer)
        batch = first.batch
        try:
            verdicts = await first.answer
        except OrchestratorError as error:
            await self._break()
            if isinstance(error, StorageUnavailable):
                await self._again(batch, error)
            else:
                await self._apart(batch, error)
            return _Written([], [], first.news)
        if verdicts is None:
            await self._break()
            return await self._write(batch, self._news(batch, None))
        self._asked.popleft()
        return _Written(batch, verdicts, first.news)

    async def _break(self) -> None:
        """The first was not written as it was asked for. Those behind it are not written, either, which must be known
        before anything else is."""
        self._asked.popleft()
        self._broken = bool(self._asked)
        if self._asked:
            await asyncio.wait([one.answer for one in self._asked])

    async def _ask_for_more(self, answer: asyncio.Future[list[Verdict] | None]) -> None:
        """Until the answer is there, the ledger is asked for what comes next, too, once nothing more comes at the
        moment."""
        if not self._room():
            return
        answer.add_done_callback(self._wake)
        while self._room() and not answer.done():
            if not self._waiting:
                self._more.clear()
                await self._more.wait()
            waiting = 0
            while waiting < len(self._waiting) and not answer.done():
                waiting = len(self._waiting)
                await _heard()
            if self._waiting and not answer.done():
                self._ask(self._take())

    def _wake(self, _answer: asyncio.Future[list[Verdict] | None]) -> None:
        self._more.set()

    def _take(self, most: int = AT_ONCE) -> list[Write]:
        """The first of what waits, and all that waits of the same tasks: it is written as one change."""
        waiting = self._waiting
        most = min(most, AT_ONCE)
        if len(waiting) <= most:
            batch, self._waiting = waiting, []
            self._more.clear()
            return batch
        batch, rest = waiting[:most], []
        tasks = {one.task.spec.id for one in batch}
        for one in waiting[most:]:
            if one.task.spec.id in tasks:
                batch.append(one)
            else:
                rest.append(one)
        self._waiting = rest
        if not rest:
            self._more.clear()
        return batch

    def _news(self, batch: list[Write], untold: _Written | None) -> _News | None:
        """What is told with the batch; nothing while what comes before it has news that do not go that way, and are not
        told yet."""
        outbox = self._outbox
        if outbox is None or not outbox.rides() or (untold is not None and untold.news is None):
            return None
        for one in self._asked:
            if one.news is None:
                return None
        return _News(batch, outbox.at())

    async def _write(self, batch: list[Write], news: _News | None = None) -> _Written:
        """What became of the batch, or of a part of it of which nothing was told yet."""
        try:
            verdicts = await self._ledger.commit(batch, news) if news is not None else await self._ledger.commit(batch)
        except StorageUnavailable as error:
            await self._again(batch, error)
        except OrchestratorError as error:
            await self._apart(batch, error)
        else:
            return _Written(batch, verdicts, news)
        return _Written([], [], news)

    def _tell(self, written: _Written, most: int = FAR) -> None:
        """Of the next `most` changes; the world hears of all of them at once, when it was told of the last."""
        batch, verdicts = written.batch, written.verdicts
        begin, written.told = written.told, min(written.told + most, len(batch))
        for place in range(begin, written.told):
            _tell(batch[place], verdicts[place])
        outbox, news = self._outbox, written.news
        if outbox is None or not batch or written.left():
            return
        if news is not None and news.number:
            outbox.rode(news.number, news.records)
            return
        outbox.tell_all(_records(batch, verdicts, outbox.at()))

    async def _apart(self, batch: list[Write], error: OrchestratorError) -> None:
        """One change of the batch is refused: it must not take the others with it."""
        if len(batch) == 1:
            _tell(batch[0], error)
            return
        middle = len(batch) // 2
        self._tell(await self._write(batch[:middle]))
        self._tell(await self._write(batch[middle:]))

    async def _again(self, batch: list[Write], error: StorageUnavailable) -> None:
        """The ledger is away. What was to be written may or may not be: that is found out when it is back."""
        for one in batch:
            if not one.insists:
                _tell(one, error)
        left = [one for one in batch if one.insists]
        pause = 0.1
        while left:
            _log.warning("tasks_not_written", extra={"error": error.message, "waiting": len(left) + len(self._waiting)})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                held = await self._ledger.get({one.task.spec.id for one in left})
                known, missing = [], []
                for one in left:
                    there = held.get(one.task.spec.id)
                    if there is not None and there.version >= one.task.version:
                        known.append((one, Verdict.DONE if there == one.task else Verdict.STALE))
                    else:
                        missing.append(one)
                self._tell(_Written([one for one, _ in known], [verdict for _, verdict in known], None))
                left = missing
                verdicts = await self._ledger.commit(left) if left else []
            except StorageUnavailable as failed:
                error = failed
                continue
            self._tell(_Written(left, verdicts, None))
            left = []


async def _heard() -> None:
    """Returns when what has come from outside was heard: the loop has looked for it once."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _records(batch: list[Write], verdicts: list[Verdict], at: float) -> list[Record]:
    found: list[Record] = []
    for place, one in enumerate(batch):
        record = task_record(one.task, one.old, at) if verdicts[place] is DONE else None
        if record is not None:
            found.append(record)
    return found


def _tell(one: Write, answer: Answer) -> None:
    """What follows a change is not the writer's: where it breaks, the changes behind it are written all the same."""
    try:
        one.written(answer)
    except Exception:  # noqa: BLE001 - the edge of a change: logged whole
        _log.exception("bug", extra={"task_id": one.task.spec.id})
