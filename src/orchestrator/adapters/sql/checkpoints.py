"""Moves what was written to a SQLite file from the write-ahead log to its place, beside those who write: a writer that
did it with its commit would keep everybody waiting for a tenth of a second now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_thread import SqliteThread
from orchestrator.adapters.sql.turn import Turn
from orchestrator.domain.errors import OrchestratorError

EVERY = 1.0  # seconds
_log = logging.getLogger("orchestrator.storage")


class Checkpoints:
    """One per process and file."""

    def __init__(self, location: SqliteFile, busy_timeout: float, turn: Turn | None) -> None:
        """`turn` is held by whoever in this process writes to the file."""
        self._thread = SqliteThread(location, busy_timeout, "checkpoints", ("synchronous=FULL",))
        self._turn = turn
        self._version = -1

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """As long as this is open."""
        running = asyncio.create_task(self._run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self._thread.close()

    async def _run(self) -> None:
        failed = False
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._look()
            except OrchestratorError as error:
                if not failed:  # once, until it works again
                    _log.warning("not_checkpointed", extra={"error": error.message})
                failed = True
            else:
                failed = False

    async def _look(self) -> None:
        [version] = await self._thread.ask("PRAGMA data_version")
        if version == self._version:
            return
        await self._move()
        # What was written meanwhile is little. With nobody writing all of it is moved, and the log begins anew.
        async with self._turn.alone() if self._turn is not None else nullcontext():
            await self._move()
        self._version = version

    async def _move(self) -> None:
        await self._thread.ask("PRAGMA wal_checkpoint(PASSIVE)")
