"""A SQLite connection in a process of its own, for what is written most."""

from __future__ import annotations

import asyncio
import marshal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.adapters.sql import sqlite_program
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_program import HEAD, Step, framed
from orchestrator.adapters.sql.sqlite_thread import MEMORY, PRAGMAS, refused
from orchestrator.domain.errors import StorageUnavailable

LONGEST_END = 10.0  # seconds for what it is writing when it is closed
BUFFER = 1 << 20  # bytes on their way at once


class SqliteProcess:
    """Started when it is first used, and again after it has died. It ends with this process, whatever ends that."""

    def __init__(self, location: SqliteFile, timeout: float, pragmas: tuple[str, ...]) -> None:
        """`timeout` is how long (seconds) a write waits for another process's transaction."""
        self._location = location
        self._opening = (str(location.path), timeout, (*PRAGMAS, MEMORY, *pragmas))
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def write(
        self, steps: Sequence[Step], question: str = "", *, durable: bool = True
    ) -> list[tuple[Any, ...]] | None:
        """In one transaction; the rows of the question, which is asked at its end. None when a step did not change as
        many rows as it must: then nothing is written. Not `durable`: it survives this process, and a power failure from
        the next durable write on. Raises StorageUnavailable; when the process died it may be written all the same."""
        async with self._turn:
            try:
                verdict, told = await self._ask((durable, steps, question))
            except (OSError, EOFError) as error:
                self._leave()
                raise StorageUnavailable(f"{self._location}: the process that writes to it ended") from error
            except BaseException:
                self._leave()  # its answer would be taken for that to the next question
                raise
        if verdict == "error":
            raise refused(self._location, told)
        if verdict == "bug":
            raise RuntimeError(f"{self._location}: {told}")
        rows: list[tuple[Any, ...]] | None = told
        return rows

    async def close(self) -> None:
        self._leave()
        await self._reap()

    async def _ask(self, request: tuple[bool, Sequence[Step], str]) -> tuple[str, Any]:
        loop = asyncio.get_running_loop()
        if self._process is not None and self._process.poll() is not None:
            self._leave()  # it died between two transactions: nothing is in doubt
        connection, opening = self._connection, b""
        if connection is None:
            await self._reap()  # what one before may still write comes first
            connection = self._connection = self._start()
            opening = framed(self._opening)
        await loop.sock_sendall(connection, opening + framed(request))
        found = bytearray()
        size = HEAD
        while len(found) < size:
            more = await loop.sock_recv(connection, BUFFER)
            if not more:
                raise EOFError
            found += more
            if size == HEAD and len(found) >= HEAD:
                size += int.from_bytes(found[:HEAD], "little")
        answer: tuple[str, Any] = marshal.loads(memoryview(found)[HEAD:])  # noqa: S302 - our own process's
        return answer

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            command = [sys.executable, "-I", "-S", str(Path(sqlite_program.__file__))]
            try:
                process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)  # noqa: S603
            except OSError:
                ours.close()
                raise
        self._process = process
        return ours

    async def _reap(self) -> None:
        """Waits for the end of one that was left."""
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process)
            self._process = None

    def _leave(self) -> None:
        """It ends when it has written what it was given."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LONGEST_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
