"""A SQLite connection in a process of its own, for what is written most."""

from __future__ import annotations

import asyncio
import marshal
import socket
import subprocess
import sys
from collections import deque
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


class Behind(Exception):
    """The transaction that this one comes after was not written: it is not, either."""


class SqliteProcess:
    """Started when it is first used, and again after it has died. It ends with this process, whatever ends that."""

    def __init__(self, location: SqliteFile, timeout: float, pragmas: tuple[str, ...]) -> None:
        """`timeout` is how long (seconds) a write waits for another process's transaction."""
        self._location = location
        self._opening = (str(location.path), timeout, (*PRAGMAS, MEMORY, *pragmas))
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: _Answers | None = None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def write(
        self, steps: Sequence[Step], question: str = "", *, durable: bool = True, number: int = 0, after: int = 0
    ) -> list[tuple[Any, ...]] | None:
        """In one transaction; the rows of the question, which is asked at its end. None when a step did not change as
        many rows as it must: then nothing is written. Not `durable`: it survives this process, and a power failure from
        the next durable write on. Raises StorageUnavailable; when the process died it may be written all the same.

        Transactions are made in the order in which they were asked for. The next one may be asked for before the last
        one is done: the process need not wait for ours to have noticed. One that must not be written unless another one
        was names that one's `number` as what it comes `after`; raises Behind where that is not the last one of those
        with a number that this process wrote.
        """
        message = framed((durable, steps, question, number, after))
        try:
            async with self._starting:
                asked = (await self._reached()).ask(message)
            verdict, told = await asked
        except (OSError, EOFError) as error:
            raise StorageUnavailable(f"{self._location}: the process that writes to it ended") from error
        if verdict == "error":
            raise refused(self._location, told)
        if verdict == "behind":
            raise Behind
        if verdict == "bug":
            raise RuntimeError(f"{self._location}: {told}")
        rows: list[tuple[Any, ...]] | None = told
        return rows

    async def close(self) -> None:
        """What was asked for by now is written."""
        if self._answers is not None:
            self._answers.transport.close()
        await self._reap()

    async def _reached(self) -> _Answers:
        """The one that lives, or another one."""
        answers = self._answers
        if answers is not None and not answers.ended and self._process is not None and self._process.poll() is None:
            return answers
        if answers is not None:
            answers.transport.abort()
        await self._reap()  # what it may still write comes first
        answers = self._answers = await self._start()
        answers.transport.write(framed(self._opening))
        return answers

    async def _start(self) -> _Answers:
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            answers = _Answers()
            answers.transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: answers, sock=ours)
            try:
                self._process = _started(theirs)
            except OSError:
                answers.transport.abort()
                raise
        return answers

    async def _reap(self) -> None:
        """Waits for the end of one that was left."""
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process)
            self._process = None


class _Answers(asyncio.Protocol):
    """The connection to one process: its answers come in the order of the questions."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.ended = False
        self._asked: deque[asyncio.Future[tuple[str, Any]]] = deque()
        self._found = bytearray()
        self._size = HEAD  # of the message, as far as it is known

    def ask(self, message: bytes) -> asyncio.Future[tuple[str, Any]]:
        """The future raises EOFError when the process has ended. Who gives it up may have been written all the same."""
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self.transport.write(message)
        return asked

    def data_received(self, data: bytes) -> None:
        found = self._found
        found += data
        while len(found) >= self._size:
            if self._size == HEAD:
                self._size += int.from_bytes(found[:HEAD], "little")
                continue
            answer = marshal.loads(memoryview(found)[HEAD : self._size])  # noqa: S302 - our own process's
            del found[: self._size]
            self._size = HEAD
            asked = self._asked.popleft()
            if not asked.done():
                asked.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(EOFError())
        self._asked.clear()


def _started(connection: socket.socket) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(Path(sqlite_program.__file__))]
    return subprocess.Popen(command, stdin=connection.fileno(), stdout=subprocess.DEVNULL)  # noqa: S603


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LONGEST_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
