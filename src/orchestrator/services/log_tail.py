"""Looking for log entries, and following them as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from orchestrator.ports.logs import LogBook, LogEntry

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
BATCH = 200  # entries taken out of the book at once
HEARTBEAT = 15.0  # seconds without an entry after which a follower hears something


@dataclass(frozen=True, slots=True)
class LogFilter:
    """`level`: that one and more serious ones. `since`: not before, in seconds since the epoch. `search`: a text in
    the event, the logger or any field, in any case."""

    level: str = "debug"
    since: float | None = None
    search: str = ""

    def takes(self, entry: LogEntry) -> bool:
        if LEVELS.get(entry.level, 0) < LEVELS[self.level] or (self.since is not None and entry.when < self.since):
            return False
        return not self.search or self.search.casefold() in _text(entry).casefold()


@dataclass(frozen=True, slots=True)
class Lost:
    """So many entries came and went before this follower could read them."""

    count: int


class Quiet:
    """Nothing has come for a while."""


async def follow(
    book: LogBook, wanted: LogFilter, after: int, stopping: asyncio.Event, heartbeat: float = HEARTBEAT
) -> AsyncGenerator[LogEntry | Lost | Quiet]:
    """The entries after number `after` as they come, up to the last before `stopping` was set. Close it to leave."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    told = False  # that there is something to look at

    def wake() -> None:
        nonlocal told
        if not told:
            told = True
            loop.call_soon_threadsafe(news.set)

    ending = asyncio.create_task(_end(stopping, news))
    try:
        with book.listening(wake):
            while True:
                last_look = stopping.is_set()
                told = False
                news.clear()
                entries, lost = book.after(after, BATCH)
                if lost:
                    after = book.last
                    yield Lost(lost)
                for entry in entries:
                    after = entry.number
                    if wanted.takes(entry):
                        yield entry
                if len(entries) == BATCH:
                    await asyncio.sleep(0)  # others have work, too
                elif last_look:
                    return
                elif not await _within(news, heartbeat):
                    yield Quiet()
    finally:
        ending.cancel()


async def _within(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True


async def _end(stopping: asyncio.Event, news: asyncio.Event) -> None:
    await stopping.wait()
    news.set()


def _text(entry: LogEntry) -> str:
    fields = entry.fields
    rest = {name: value for name, value in fields.items() if name not in ("timestamp", "level", "event", "logger")}
    return f"{fields.get('event', '')}\n{fields.get('logger', '')}\n{json.dumps(rest, ensure_ascii=False, default=str)}"
