"""Writes the history down, beside the traffic and never in its way.

A request that ends costs the data plane one append. Ten times a second what was appended is added up to minutes, in
slices of a few milliseconds, and once a second all of that is written in one transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.ports.history import MINUTE, Decision, HistoryBatch, HistoryStore, Rollup
from orchestrator.ports.record import RequestRecord
from orchestrator.ports.telemetry import Family
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history.cell import Cell, Key
from orchestrator.services.history.extremes import Extremes
from orchestrator.services.metrics.snapshot import family, single

BEAT = 0.1  # seconds between two drains
WRITE = 1.0  # and between two writes: what a crash may cost
SLICE = 500  # records between two looks at the clock
LONGEST = 0.003  # seconds that a slice may hold the event loop
AT_ONCE = 5_000  # requests in one transaction
MOST_ROWS = 50_000  # requests that wait for a database which is away
MOST_CELLS = 20_000  # minutes of a model on a node that wait for it
MOST_DECISIONS = 5_000

_log = logging.getLogger("orchestrator.history")


@dataclass(slots=True)
class Waiting:
    """What is not written yet. What there is no room for is counted in `dropped`, by kind."""

    rows: deque[RequestRecord] = field(default_factory=deque)
    decisions: deque[Decision] = field(default_factory=deque)
    cells: dict[Key, Cell] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def cell(self, key: Key) -> Cell | None:
        cell = self.cells.get(key)
        if cell is None and len(self.cells) < MOST_CELLS:
            cell = self.cells[key] = Cell()
        return cell

    def keep(self, row: RequestRecord) -> None:
        if len(self.rows) >= MOST_ROWS:
            self.rows.popleft()
            self.dropped["requests"] += 1
        self.rows.append(row)

    def decide(self, decision: Decision) -> None:
        if len(self.decisions) >= MOST_DECISIONS:
            self.decisions.popleft()
            self.dropped["decisions"] += 1
        self.decisions.append(decision)


class Recorder:
    """Takes the records of a gateway to a store. One instance lives in one event loop."""

    def __init__(self, gateway: Gateway, store: HistoryStore, *, rows_per_second: int) -> None:
        """`rows_per_second`: ordinary requests that are kept in full; troubled ones always are."""
        self.rows_per_second = rows_per_second
        self.pending: deque[RequestRecord] = deque()
        self.waiting = Waiting()
        self.extremes = Extremes(gateway.clock.wall())
        self.behind = False  # the last write failed
        self._gateway = gateway
        self._store = store
        self._batch: HistoryBatch | None = None  # made, and not written: the database was away
        self._room = float(rows_per_second)  # ordinary rows that may be kept now
        self._filled = gateway.clock.now
        self._told = 0  # drops that the log knows of
        self._wake = asyncio.Event()
        self._stopped = False
        self._readers: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listens from now on."""
        self._gateway.on_record.append(self.pending.append)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Writes the rest. A write under way is finished and not cut off: it would be written twice."""
        self._stopped = True
        self._wake.set()
        if self._task is not None:
            self._gateway.on_record.remove(self.pending.append)
            await self._task
            self._task = None

    async def catch_up(self) -> None:
        """Returns when what has ended by now is written, or could not be."""
        if self._task is None or self._stopped:
            return
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._wake.set()
        await asyncio.wait({reader, self._task}, return_when=asyncio.FIRST_COMPLETED)

    def families(self) -> Iterator[Family]:
        """Its numbers among the metrics."""
        waiting = self.waiting
        yield single("orchestrator_history_waiting", len(self.pending) + len(waiting.rows))
        kinds = ("requests", "decisions", "rollups")
        yield family("orchestrator_history_dropped_total", [((kind,), waiting.dropped[kind]) for kind in kinds])

    async def _run(self) -> None:
        written = self._gateway.clock.tick()
        while not self._stopped:
            await self._pause()
            readers, self._readers = self._readers, []
            await self._drain()
            now = self._gateway.clock.tick()
            if readers or now - written >= WRITE:
                await self._write()
                written = now
            for reader in readers:
                if not reader.done():
                    reader.set_result(None)
        await self._drain()
        await self._write()
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    async def _pause(self) -> None:
        self._wake.clear()
        if self._readers or self._stopped:
            return
        try:
            async with asyncio.timeout(BEAT):
                await self._wake.wait()
        except TimeoutError:
            return

    # From records to minutes

    async def _drain(self) -> None:
        """Adds up all that has ended by now; the event loop gets its turn every few milliseconds."""
        pending = self.pending
        left = len(pending)
        if not left:
            return
        now = self._gateway.clock.tick()
        rate = self.rows_per_second
        self._room = min(self._room + (now - self._filled) * rate, max(rate, 1) if rate else 0)
        self._filled = now
        ordinary: list[RequestRecord] = []
        since = perf_counter()
        while left:
            count = min(left, SLICE)
            left -= count
            self._take([pending.popleft() for _ in range(count)], ordinary)
            if perf_counter() - since > LONGEST:
                await asyncio.sleep(0)
                since = perf_counter()
        for row in self._sample(ordinary):
            self.waiting.keep(row)

    def _take(self, records: Iterable[RequestRecord], ordinary: list[RequestRecord]) -> None:
        waiting = self.waiting
        groups: dict[Key, list[RequestRecord]] = {}
        minute = -1
        for record in records:
            at = record.at
            if not minute <= at < minute + MINUTE:
                minute = int(at) // MINUTE * MINUTE
            key = (minute, record.node, record.model, record.endpoint)
            if record.outcome == "ok" and len(record.attempts) <= 1 and not record.continuations:
                group = groups.get(key)
                if group is None:
                    groups[key] = [record]
                else:
                    group.append(record)
                continue
            waiting.keep(record)
            if record.outcome == "ok":
                self.extremes.add((record.node, record.model), key[0], (record.duration,))
            cell = waiting.cell(key if record.node else self._nowhere(key))
            if cell is None:
                waiting.dropped["rollups"] += 1
            else:
                cell.add(record)
        for key, group in groups.items():
            ordinary += group
            self.extremes.add((key[1], key[2]), key[0], [record.duration for record in group])
            cell = waiting.cell(key if key[1] else self._nowhere(key))
            if cell is None:
                waiting.dropped["rollups"] += len(group)
            else:
                cell.add_answered(group)

    def _nowhere(self, key: Key) -> Key:
        """Where no node had the request, the model may be anything that a client wrote: only known ones are kept."""
        known = self._gateway.fleet.catalogue.nodes(key[2])
        return key if known else (key[0], "", "", key[3])

    def _sample(self, ordinary: list[RequestRecord]) -> list[RequestRecord]:
        """All of them; evenly chosen ones where there are more than may be kept."""
        count = min(len(ordinary), int(self._room))
        self._room -= count
        if count == len(ordinary):
            return ordinary
        step = len(ordinary) / count if count else 0.0
        return [ordinary[int(index * step)] for index in range(count)]

    # From minutes to the database

    async def _write(self) -> None:
        """Writes all that waits, in batches. What fails waits for the next second."""
        while True:
            if self._batch is None:
                self._batch = await self._next()
            if self._batch is None:
                break
            try:
                await self._store.append(self._batch)
            except StorageUnavailable as error:
                self._failed(error)
                break
            self._batch = None
            if self.behind:
                self.behind = False
                _log.info("history_caught_up", extra={"dropped": self.waiting.dropped.total()})
        self._tell_drops()

    async def _next(self) -> HistoryBatch | None:
        waiting = self.waiting
        if not (waiting.rows or waiting.cells or waiting.decisions):
            return None
        cells, waiting.cells = waiting.cells, {}
        decisions = tuple(waiting.decisions)
        waiting.decisions.clear()
        rows = [waiting.rows.popleft() for _ in range(min(len(waiting.rows), AT_ONCE))]
        rollups: list[Rollup] = []
        for key, cell in cells.items():
            rollups.append(cell.rollup(key))
            if not len(rollups) % SLICE:
                await asyncio.sleep(0)
        return HistoryBatch(rows, decisions, rollups)

    def _failed(self, error: StorageUnavailable) -> None:
        if not self.behind:
            self.behind = True
            _log.warning("history_behind", extra={"error": error.message, "waiting": len(self.waiting.rows)})

    def _tell_drops(self) -> None:
        dropped = self.waiting.dropped.total()
        if dropped > self._told:
            _log.warning("history_dropped", extra={"count": dropped - self._told, **self.waiting.dropped})
            self._told = dropped
