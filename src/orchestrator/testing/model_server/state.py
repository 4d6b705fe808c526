"""What the server has seen: every request, the counters, and who waits for a change."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.testing.model_server.request import Request

HISTORY = 1000
HISTORY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Received:
    """One request as it was received and what became of it.

    Times are seconds of the event loop's clock (`asyncio.get_running_loop().time()`). `status` is 0 until a head is
    sent. `tokens` counts the token frames sent. `disconnected` says that the client left before the answer's end.
    `raw` is the body's bytes and `body` its JSON; both are `None` once the history holds more than 64 MiB.
    """

    number: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes | None
    started_at: float
    size: int
    body: Any = None
    model: str = ""
    mode: str = "ok"
    status: int = 0
    tokens: int = 0
    bytes_sent: int = 0
    first_byte_at: float | None = None
    finished_at: float | None = None
    disconnected: bool = False

    @property
    def finished(self) -> bool:
        """Whether the server is done with it, for whatever reason."""
        return self.finished_at is not None

    def summary(self) -> dict[str, Any]:
        """The record as JSON for the control plane."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "raw"}


@dataclass(slots=True, eq=False)
class State:
    """Counters and the last requests; `changed()` wakes whoever waits."""

    clock: Callable[[], float]
    received: deque[Received] = field(default_factory=lambda: deque(maxlen=HISTORY))
    by_path: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    total: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    disconnects: int = 0
    connections: int = 0
    _bytes: int = 0
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def begin(self, request: Request) -> Received:
        """Record a request that has arrived whole."""
        self.total += 1
        self.by_path[request.path] += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        record = Received(
            self.total,
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            self.clock(),
            len(request.body),
        )
        self._remember(record)
        self.changed()
        return record

    def finish(self, record: Received, *, disconnected: bool) -> None:
        """Record that the server is done with the request."""
        record.finished_at = self.clock()
        record.disconnected = disconnected
        self.in_flight -= 1
        self.disconnects += disconnected
        self.by_status[record.status] += 1
        self.changed()

    def forget(self) -> None:
        """Zero every counter except those of what is still going on, and drop the finished requests."""
        unfinished = [record for record in self.received if not record.finished]
        self.received = deque(unfinished, maxlen=HISTORY)
        self._bytes = sum(record.size for record in unfinished)
        self.by_path.clear()
        self.by_model.clear()
        self.by_status.clear()
        self.total = self.disconnects = 0
        self.peak_in_flight = self.in_flight
        self.changed()

    def changed(self) -> None:
        """Wake everyone who waits for a change."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def change(self) -> None:
        """Wait for the next change."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _remember(self, record: Received) -> None:
        if len(self.received) == HISTORY:
            oldest = self.received[0]
            self._bytes -= oldest.size if oldest.raw is not None else 0
        self.received.append(record)
        self._bytes += record.size
        if self._bytes <= HISTORY_BYTES:
            return
        for old in self.received:
            if old.raw is not None and old is not record:
                self._bytes -= old.size
                old.raw = old.body = None
            if self._bytes <= HISTORY_BYTES:
                return
