"""Whose turn it is to write to a SQLite file, among those of one process: SQLite itself has who comes second sleep and
try again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType


class Turn:
    """First come, first served."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._beside = 0
        self._open = asyncio.Event()  # to those beside
        self._open.set()
        self._quiet = asyncio.Event()  # none is beside
        self._quiet.set()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return self._waiting > 0

    async def take(self) -> None:
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        self._lock.release()

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.leave()

    @asynccontextmanager
    async def beside(self) -> AsyncGenerator[None]:
        """For what is so short that it need not wait for those whose turn it is, nor they for it."""
        while not self._open.is_set():
            await self._open.wait()
        self._beside += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._beside -= 1
            if not self._beside:
                self._quiet.set()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """A turn with nobody beside."""
        async with self:
            self._open.clear()
            try:
                await self._quiet.wait()
                yield
            finally:
                self._open.set()
