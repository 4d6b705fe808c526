"""What handlers say while they run: how far they are, and lines of their log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator_client import calls
from orchestrator_client.async_client import AsyncClient
from orchestrator_client.errors import OrchestratorError, RateLimited, ServiceError, Unavailable, Unreachable
from orchestrator_client.wait import pause

Key = tuple[str, int]  # task id, attempt
SECONDS = 0.25  # between two messages about an attempt
LAST_SECONDS = 5.0  # for what was said last, before the result is told, when the service is there and does not take it
MAX_LINE, MAX_MESSAGE = 16_000, 4_000  # characters
WAITING_LINES, WAITING_BYTES = 5_000, 1 << 20  # of one attempt, until the service has them
SENT_LINES, SENT_BYTES = 500, 256 << 10  # with one message
_log = logging.getLogger("orchestrator_client.worker")


@dataclass(frozen=True, slots=True)
class Line:
    """`at` in seconds since the epoch."""

    at: float
    level: str
    message: str

    @property
    def size(self) -> int:
        return len(self.message) + 32


@dataclass(frozen=True, slots=True)
class Said:
    """What was said since the last time. `progress` is how far and a line about it; None: nothing new."""

    progress: tuple[float | None, str] | None
    lines: Sequence[Line]


class Note:
    """What one attempt has said and nobody was told yet. Handlers write from any thread; memory is bounded."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called from the handler's thread when something was said and nothing waited."""
        self.turn = asyncio.Lock()  # one message at a time, so that lines keep their order
        self.last: tuple[float | None, str] = (None, "")
        self._wake = wake
        self._lock = threading.Lock()
        self._progress: tuple[float | None, str] | None = None
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._left_out = 0
        self._closed = False

    @property
    def some(self) -> bool:
        return self._progress is not None or bool(self._lines)

    @property
    def has_lines(self) -> bool:
        return bool(self._lines)

    @property
    def lines(self) -> int:
        """How many wait, and were left out."""
        return len(self._lines) + self._left_out

    def progress(self, part: float | None, message: str) -> None:
        with self._lock:
            first = not self.some
            self._progress = self.last = (part, _text(message, MAX_MESSAGE))
        if first:
            self._wake()

    def log(self, text: str, level: str = "info", at: float | None = None) -> None:
        now = time.time() if at is None else at
        with self._lock:
            if self._closed:
                return
            first = not self.some
            for line in str(text).splitlines() or [""]:
                self._append(Line(now, str(level), _text(line, MAX_LINE)))
        if first:
            self._wake()

    def close(self) -> None:
        """The handler has ended: what a thread that it left behind says is too late."""
        self._closed = True

    def take(self, lines: int = SENT_LINES, most: int = SENT_BYTES) -> Said:
        """The oldest lines, as many as fit."""
        with self._lock:
            taken: list[Line] = []
            size = 0
            while self._lines and len(taken) < lines and (not taken or size + self._lines[0].size <= most):
                line = self._lines.popleft()
                taken.append(line)
                size += line.size
            self._bytes -= size
            if self._left_out and not self._lines:
                said = f"({self._left_out:,} lines were left out: too many at once)"
                taken.append(Line(time.time(), "warning", said))
                self._left_out = 0
            progress, self._progress = self._progress, None
            return Said(progress, taken)

    def back(self, said: Said) -> None:
        """It was not told after all."""
        with self._lock:
            self._lines.extendleft(reversed(said.lines))
            self._bytes += sum(line.size for line in said.lines)
            self._progress = self._progress or said.progress

    def _append(self, line: Line) -> None:
        if len(self._lines) >= WAITING_LINES or self._bytes + line.size > WAITING_BYTES:
            self._left_out += 1
            return
        self._lines.append(line)
        self._bytes += line.size


class Notes:
    """Tells the service what the running attempts say, each a few times a second at most."""

    def __init__(self, client: AsyncClient, node_id: str, unwanted: Callable[[str, int], None]) -> None:
        """`unwanted` is called for an attempt that the service does not want any more."""
        self._client = client
        self._node = node_id
        self._unwanted = unwanted
        self._notes: dict[Key, Note] = {}
        self._some = asyncio.Event()

    def begin(self, key: Key) -> Note:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the worker has ended, the handler's thread has not
                loop.call_soon_threadsafe(self._some.set)

        note = self._notes[key] = Note(wake)
        return note

    def end(self, key: Key) -> None:
        self._notes.pop(key, None)

    async def flush(self, key: Key, seconds: float | None) -> None:
        """Tells the last lines of an attempt, before its result: after that the service takes none. Waits for a service
        that is away, at most so many seconds (None: as long as it takes); for one that is there and does not take them
        only a few."""
        note = self._notes.get(key)
        if note is None:
            return
        note.close()
        try:
            async with asyncio.timeout(None if seconds is None else max(LAST_SECONDS, seconds)):
                await self._flush(key, note)
        except TimeoutError:
            pass
        finally:
            if note.lines:
                _log.warning("the last %d log lines of task %s, attempt %d, were not taken", note.lines, *key)

    async def _flush(self, key: Key, note: Note) -> None:
        failures, refused = 0, 0.0
        while note.has_lines or note.turn.locked():
            problem = await self._tell(key, note)
            if problem is None:
                failures, refused = 0, 0.0
                continue
            failures += 1
            wait = pause(failures, most=LAST_SECONDS)
            refused = 0.0 if isinstance(problem, Unreachable | Unavailable) else refused + wait
            if refused > LAST_SECONDS:
                return
            await asyncio.sleep(wait)

    async def run(self) -> None:
        """For ever."""
        failures = 0
        while True:
            await self._some.wait()
            self._some.clear()
            began = time.monotonic()
            told = await asyncio.gather(
                *(self._tell(key, note) for key, note in self._notes.copy().items() if note.some)
            )
            failures = failures + 1 if any(told) else 0
            if any(note.some for note in self._notes.values()):
                self._some.set()
            wait = pause(failures) if failures else SECONDS
            await asyncio.sleep(max(0.0, wait - (time.monotonic() - began)))

    async def _tell(self, key: Key, note: Note) -> OrchestratorError | None:
        """One message; why it was not taken, where it may be taken later."""
        async with note.turn:
            if not note.some or key not in self._notes:
                return None
            said = note.take()
            part, message = note.last
            body: dict[str, Any] = {
                "attempt": key[1], "node_id": self._node, "progress": part, "message": message
            }  # fmt: skip
            if said.lines:
                body["logs"] = [asdict(line) for line in said.lines]
            try:
                unwanted = await self._client.send(calls.progress(key[0], body))
            except (Unreachable, ServiceError, RateLimited) as error:
                _log.debug("what task %s says was not taken yet: %s", key[0], error.message)
                note.back(said)
                return error
            except OrchestratorError as error:
                _log.debug("what task %s says is refused: %s", key[0], error.message)
                return None
            except asyncio.CancelledError:
                note.back(said)  # to be counted
                raise
            if unwanted:
                self._unwanted(*key)
            return None


def _text(text: str, most: int) -> str:
    return str(text)[:most].encode("utf-8", "replace").decode()
