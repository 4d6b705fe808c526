"""Writes to one SQLite file for another process, `SqliteProcess`: that process's interpreter need not wait for a disk
or for a search in an index, nor this one for its turn among that one's threads.

Run by path, with nothing but the standard library, so that it starts quickly. Standard input is a socket;
a message is its length in eight bytes and a value in `marshal`'s form. The first tells what to open. Each further one
is a transaction (durable, steps, question, number, after), where a step is (statement, values, how many rows it must
change or None). Transactions may be numbered from 1 on (0: it has none), and one may be asked for `after` the one of a
number (0: after any). It is answered with one of

    ("done", rows of the question)      it is written, and durable if that was asked for
    ("late", None)                      a step changed another number of rows: nothing is written
    ("behind", None)                    `after` is not the last number that was written: nothing is written
    ("error", message)                  of SQLite: nothing is written
    ("bug", traceback)                  of anything else: nothing is written

It ends with its caller, when the socket is closed. What it has been given by then is written all the same.
"""

from __future__ import annotations

import marshal
import signal
import socket
import sqlite3
import traceback
from collections.abc import Sequence
from typing import Any

Step = tuple[str, Sequence[Any], int | None]
HEAD = 8  # bytes of a message's length


class Gone(Exception):
    """The caller has closed the socket."""


class Channel:
    """Messages through a socket that blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> Any:
        """Raises Gone."""
        return marshal.loads(self._read(int.from_bytes(self._read(HEAD), "little")))  # noqa: S302 - our own process's

    def send(self, value: tuple[Any, ...]) -> None:
        try:
            self._connection.sendall(framed(value))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone from error

    def _read(self, size: int) -> bytes:
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            try:
                count = self._connection.recv_into(rest)
            except ConnectionResetError:
                count = 0
            if not count:
                raise Gone
            rest = rest[count:]
        return bytes(found)


def framed(value: tuple[Any, ...]) -> bytes:
    """A message as it is sent."""
    raw = marshal.dumps(value)
    return len(raw).to_bytes(HEAD, "little") + raw


def opened(path: str, timeout: float, pragmas: Sequence[str]) -> sqlite3.Connection:
    """A connection for any one thread at a time. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=128
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class File:
    """Opened with the first transaction."""

    def __init__(self, path: str, timeout: float, pragmas: Sequence[str]) -> None:
        self._path, self._timeout, self._pragmas = path, timeout, pragmas
        self._connection: sqlite3.Connection | None = None
        self._durable = False
        self._last = 0  # number that was written

    def write(self, durable: bool, steps: Sequence[Step], question: str, number: int, after: int) -> tuple[str, Any]:
        if after and after != self._last:
            return "behind", None
        try:
            answer = self._write(durable, steps, question)
        except sqlite3.Error as error:
            return "error", str(error)
        except Exception:  # noqa: BLE001 - told to the caller, whose values they are
            return "bug", traceback.format_exc()
        if number and answer[0] == "done":
            self._last = number
        return answer

    def _write(self, durable: bool, steps: Sequence[Step], question: str) -> tuple[str, Any]:
        connection = self._connection = self._connection or opened(self._path, self._timeout, self._pragmas)
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, values, wanted in steps:
                changed = connection.execute(statement, values).rowcount
                if wanted is not None and changed != wanted:
                    connection.execute("ROLLBACK")
                    return "late", None
            rows = connection.execute(question).fetchall() if question else []
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return "done", rows


def main() -> None:
    # What ends the caller's group does not end this before it has written what it was given.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=0) as connection:
        channel = Channel(connection)
        try:
            file = File(*channel.receive())
            while True:
                channel.send(file.write(*channel.receive()))
        except Gone:
            return


if __name__ == "__main__":
    main()
