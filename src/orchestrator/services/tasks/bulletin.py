"""What happens to tasks and nodes, as events that anybody may follow: those of this process and of all others on the
database.

What is told waits for some milliseconds and is written down with everything else of that time; followers hear it when
it is there, in the order of the numbers. Nobody who tells something waits for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import LOST, Worker, WorkerStatus
from orchestrator.ports.event_log import EventBatch, EventLog
from orchestrator.services.tasks.events import MISSED, Event, Record, event, packed, task_record, unpacked

COLLECT = 0.02  # seconds for which events are collected
SHORTEST = 0.002  # the same while somebody follows and writing takes little of the time
SHARE_OF_TIME = 0.25  # that writing may take while somebody follows
SMOOTHED = 8  # batches over which that is averaged: one that was held up says nothing about the next
AT_ONCE = 8_000  # events in one batch; its places are numbers of 16 bits
MOST_WAITING = 100_000  # events that wait for the database; more are counted and lost
KEPT = 10_000  # events that are kept in memory besides
PAGE = 20  # batches read at once
SHARE = 500  # events handed on before others get their turn
SMALL = 200  # events that are written out faster here than by another thread
QUIET = 15.0  # seconds without an event after which a follower hears something
LOOK, LOOK_IDLE = 0.25, 1.0  # seconds between looks at what other processes told, with and without followers
LAST_WORDS = 1.0  # seconds that followers wait at the end for what was told before it
CLOSING = 5.0  # seconds that the database has at the end
LONGEST_PAUSE = 5.0  # seconds between two tries to reach it
TOO_MANY = "too many events at once"
END = 0xFFFF  # behind all places of a batch
_log = logging.getLogger("orchestrator.tasks")


@dataclass(frozen=True, slots=True)
class Missed:
    """Events came and went before this follower could read them, or were never written down. `number` is what to go on
    behind, `count` how many there were, if that is known."""

    number: int
    reason: str
    count: int | None = None


class Quiet:
    """Nothing has happened for a while."""


Heard = Event | Missed | Quiet


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    records: list[Record]
    told: int  # how many events this process had told with the first one of it; 0: of another process, or unknown


@dataclass(slots=True)
class _Place:
    """How far a follower is: behind the event `number`, and behind all that this process had told by `told`."""

    number: int
    told: int = 0


class Bulletin:
    """One per process."""

    def __init__(self, wall: Callable[[], float], log: EventLog, owner: str, *, alone: bool) -> None:
        """`wall` tells the time in seconds since the epoch; `owner` names this process among the replicas; `alone`: no
        other process can use this log."""
        self.followers: Counter[str] = Counter()  # how many follow now, by how they do
        self.on_written: list[Callable[[], None]] = []  # called when others can read something new
        self._wall = wall
        self._log = log
        self._owner = owner
        self._alone = alone
        self._waiting: list[Record] = []
        self._told = 0  # events that were told here
        self._written = 0  # of these, how many are written down or lost
        self._lost = 0  # of these, how many are lost, since it was last said
        self._overflowed = False  # whether records that stand for lost ones wait
        self._some = asyncio.Event()
        self._batches: deque[_Batch] = deque()  # the newest, without a gap
        self._size = 0  # events in them
        self._floor = 0  # all batches behind this one are in memory
        self._last = 0  # the newest batch that is known here
        self._serial = 0
        self._advancing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._following = 0
        self._statuses: dict[str, WorkerStatus] = {}
        self._closing = False
        self._took = 0.0  # seconds that the last batches took to be written
        self._writer: asyncio.Task[bool] | None = None
        self._writing = False  # what no longer waits is not written yet
        self._riding: set[asyncio.Task[None]] = set()

    @property
    def last(self) -> int:
        """The number behind which everything is new."""
        return self._last << 16 | END

    # Telling

    def tell(self, record: Record) -> None:
        """`record` as services.tasks.events has it."""
        self._told += 1
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        if self._lost:
            self._tell_lost()
        self._waiting.append(record)
        self._some.set()

    def tell_all(self, records: list[Record]) -> None:
        """As `Outbox` has it."""
        if self._lost or len(self._waiting) + len(records) > MOST_WAITING:
            for record in records:
                self.tell(record)
        elif records:
            self._told += len(records)
            self._waiting += records
            self._some.set()

    def _tell_lost(self) -> None:
        self._overflowed = True
        self._waiting.append((MISSED, self._wall(), TOO_MANY, self._lost))
        self._lost = 0

    def rides(self) -> bool:
        """As `Outbox` has it."""
        return bool(self._following) and not self._waiting and not self._writing and self._writer is not None

    def at(self) -> float:
        """As `Outbox` has it."""
        return self._wall()

    def rode(self, number: int, records: list[Record]) -> None:
        """As `Outbox` has it."""
        batch = _Batch(number, records, self._told + 1)
        self._told += len(records)
        self._written += len(records)
        if number == self._last + 1 and not self._advancing.locked():
            self._keep(batch)
            self._heard()
        else:
            riding = asyncio.create_task(self._advance(number, batch))
            self._riding.add(riding)
            riding.add_done_callback(self._riding.discard)

    def task(self, new: Task, old: Task | None) -> None:
        """A watcher of `Reporting.on_elsewhere`: another process's task was changed here."""
        record = task_record(new, old, self._wall())
        if record is not None:
            self.tell(record)

    def worker(self, worker: Worker, *, silent: bool = False) -> None:
        """`Workers.on_change`. `silent`: it was there before this process, or another one tells of it."""
        before = self._statuses.get(worker.id)
        self._statuses[worker.id] = worker.status
        if silent:
            return
        if before is None:
            self.tell(("node_registered", self._wall(), worker.id))
        elif worker.status is not before:
            kind = "node_failure" if worker.status in LOST else "node_status"
            self.tell((kind, self._wall(), worker.id, worker.status.value))

    def worker_lost(self, worker_id: str, removed: bool, *, silent: bool = False) -> None:
        """`Workers.on_lost`."""
        if removed and self._statuses.pop(worker_id, None) is not None and not silent:
            self.tell(("node_unregistered", self._wall(), worker_id))

    def logged(self, task_id: str, first: int, last: int) -> None:
        self.tell(("task_log", self._wall(), task_id, first, last))

    def missed(self, reason: str, count: int | None = None) -> None:
        """Tells followers that events are not there."""
        self.tell((MISSED, self._wall(), reason, count))

    # Writing

    async def start(self) -> None:
        """From now on what is told is written down. Raises StorageUnavailable."""
        head = await self._log.head(begins=True)
        self._floor = self._last = head.last
        self._writer = asyncio.create_task(self._write_on())

    async def stop(self) -> None:
        """Returns when all that was told is written down, or the database has had its time."""
        self._closing = True
        self._some.set()
        if self._writer is None:
            return
        try:
            if await asyncio.wait_for(self._writer, CLOSING):
                await asyncio.wait_for(self._log.leave(self._owner), CLOSING)
        except (TimeoutError, StorageUnavailable):
            _log.warning("events_not_written", extra={"waiting": len(self._waiting)})

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks at what other processes told, until cancelled."""
        while not self._alone:
            await sleep(LOOK if self._following else LOOK_IDLE)
            try:
                await self.look()
            except StorageUnavailable as error:
                _log.debug("events_not_read", extra={"error": error.message})

    async def look(self) -> None:
        """One look. Raises StorageUnavailable."""
        async with self._advancing:
            await self._catch_up()

    async def _write_on(self) -> bool:
        """Until the service stops. Whether all is written."""
        while True:
            await self._some.wait()
            if not self._closing:
                await asyncio.sleep(self._patience())
            if len(self._waiting) <= AT_ONCE:
                self._some.clear()
            if self._lost and len(self._waiting) < AT_ONCE:
                self._tell_lost()
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            self._writing = True
            if batch and not await self._write(batch):
                return False
            self._writing = False
            if self._closing and not self._waiting:
                return True

    def _patience(self) -> float:
        """Seconds for which events are collected now."""
        if not self._following:
            return COLLECT
        return min(max(self._took * (1 / SHARE_OF_TIME - 1), SHORTEST), COLLECT)

    async def _write(self, records: list[Record]) -> bool:
        """Whether they are written; False when the service stops before the database is back."""
        begun = asyncio.get_running_loop().time()
        body = packed(records) if len(records) <= SMALL else await asyncio.to_thread(packed, records)
        self._serial += 1
        batch = EventBatch(0, self._wall(), len(records), body)
        pause = 0.1
        while True:
            try:
                number = await self._log.append(self._owner, self._serial, batch)
                break
            except StorageUnavailable as error:
                _log.warning("events_not_written", extra={"error": error.message, "waiting": len(self._waiting)})
                if self._closing:
                    return False
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._took += (asyncio.get_running_loop().time() - begun - self._took) / SMOOTHED
        told = self._written + 1
        self._written += len(records)
        if self._overflowed:
            self._written += sum(record[3] - 1 for record in records if record[0] == MISSED and record[2] == TOO_MANY)
            self._overflowed = any(record[0] == MISSED for record in self._waiting)
        await self._advance(number, _Batch(number, records, told))
        return True

    # Reading

    async def _advance(self, number: int, batch: _Batch) -> None:
        async with self._advancing:
            if number == self._last + 1:
                self._keep(batch)
            elif number == 0 or number > self._last:  # others have told something before it
                try:
                    await self._catch_up()
                except StorageUnavailable as error:
                    _log.debug("events_not_read", extra={"error": error.message})
        self._heard()

    def _heard(self) -> None:
        self._changed.set()
        for listener in self.on_written:
            listener()

    async def _catch_up(self) -> None:
        head = await self._log.head()
        while self._last < head.last:
            found = await self._log.read(self._last, PAGE) if self._following else ()
            for one in found:
                self._keep(_Batch(one.number, list(unpacked(one.body)), 0))
            if not found:
                self._batches.clear()
                self._size = 0
                self._floor = self._last = head.last
            self._changed.set()

    def _keep(self, batch: _Batch) -> None:
        self._batches.append(batch)
        self._size += len(batch.records)
        self._last = batch.number
        while self._size > KEPT and len(self._batches) > 1:
            gone = self._batches.popleft()
            self._size -= len(gone.records)
            self._floor = gone.number

    def follow(self, after: int | None, stopping: asyncio.Event) -> AsyncGenerator[Heard]:
        """The events behind the number `after` (None: those that are told from now on) as they come, up to the last
        before `stopping` was set. 0: all that are kept."""
        place = _Place(self.last, self._told) if after is None else _Place(after)
        return self._follow(place, stopping)

    async def before(self, at: float) -> int:
        """The number behind which everything was told at a moment (seconds since the epoch) or later. Raises
        StorageUnavailable."""
        return await self._log.before(at) << 16 | END

    async def _follow(self, place: _Place, stopping: asyncio.Event) -> AsyncGenerator[Heard]:
        ending = asyncio.create_task(self._wake_at(stopping))
        self._following += 1
        loop = asyncio.get_running_loop()
        until: tuple[int, float] | None = None  # at the end: what must be heard, and how long that may take
        try:
            while True:
                if until is None and stopping.is_set():
                    until = self._told, loop.time() + LAST_WORDS
                self._changed.clear()
                known = self._written
                heard = await self._next(place)
                for one in heard:
                    yield one
                if heard:
                    await asyncio.sleep(0)  # others get their turn
                elif until is not None and (known >= until[0] or loop.time() >= until[1]):
                    return
                elif until is not None:
                    await self._more(LAST_WORDS / 20)
                elif place.number >= self.last and not stopping.is_set() and not await self._more(QUIET):
                    yield Quiet()
        finally:
            self._following -= 1
            ending.cancel()

    async def _next(self, place: _Place) -> list[Event | Missed]:
        """What there is behind `place`, which moves on; not necessarily all of it."""
        if place.number > self.last and not await self._known_elsewhere(place):
            place.number = self.last
            return [Missed(place.number, "the id is none of those that were given out")]
        if place.number >= self.last:
            return []
        heard: list[Event | Missed] = []
        if place.number >= (self._floor << 16 | END):
            batches = self._in_memory(place.number >> 16)
        else:
            batches = await self._from_log(place, heard)
        for batch in batches:
            heard += _heard(batch, place)
            place.number = batch.number << 16 | END
            if len(heard) >= SHARE:
                break
        return heard

    def _in_memory(self, number: int) -> list[_Batch]:
        found: list[_Batch] = []
        for batch in reversed(self._batches):
            if batch.number < number:
                break
            found.append(batch)
        return found[::-1]

    async def _from_log(self, place: _Place, heard: list[Event | Missed]) -> list[_Batch]:
        """Batches that are no longer, or not yet, in memory. While the database is away there are none."""
        floor = self._floor << 16 | END
        try:
            head = await self._log.head()
            if (place.number + 1) >> 16 <= head.forgotten:
                forgotten = head.forgotten << 16 | END
                if place.number:
                    heard.append(Missed(forgotten, "they are no longer kept"))
                place.number = forgotten
            found = await self._log.read(((place.number + 1) >> 16) - 1, PAGE)
            bodies = [one.body for one in found]
            records = await asyncio.to_thread(lambda: [unpacked(body) for body in bodies])
        except StorageUnavailable:
            await asyncio.sleep(LOOK_IDLE)
            return []
        if not found:  # nothing has the numbers up to those in memory
            place.number = max(place.number, floor)
        return [_Batch(one.number, list(part), 0) for one, part in zip(found, records, strict=True)]

    async def _known_elsewhere(self, place: _Place) -> bool:
        """Whether another process has told the event: a follower may come from there."""
        try:
            await self.look()
        except StorageUnavailable:
            return True
        return place.number <= self.last

    async def _more(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _wake_at(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._changed.set()


def _heard(batch: _Batch, place: _Place) -> list[Event | Missed]:
    """What of a batch is behind a place."""
    heard: list[Event | Missed] = []
    for index, record in enumerate(batch.records):
        number = batch.number << 16 | index
        if number <= place.number or (batch.told and batch.told + index <= place.told):
            continue
        found = event(number, record)
        if found is not None and found.type == MISSED:
            heard.append(Missed(number, str(found.data["reason"]), found.data.get("count")))
        elif found is not None:
            heard.append(found)
    return heard
