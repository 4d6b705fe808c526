"""Where log lines go. Every write is one system call, so that lines of several processes do not mix."""

from __future__ import annotations

import fcntl
import os
import select
import stat
from pathlib import Path
from typing import Protocol

from orchestrator.domain.errors import ConfigurationError

MAX_BYTES = 64 << 20
KEPT = 5  # rotated files beside the current one


class Output(Protocol):
    def write(self, data: bytes) -> None:
        """Raises OSError."""
        ...

    def close(self) -> None: ...


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # a terminal or pipe that somebody made non-blocking
            select.select([], [fd], [], 1.0)


class Stream:
    """An open file descriptor, such as standard error."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        write_all(self._fd, data)

    def close(self) -> None:
        """The descriptor is not ours to close."""


class LogFile:
    """A file that is rotated when it is full, and followed when somebody else rotates it.

    Several processes may share it: who rotates holds a lock on the file, and who comes second sees that it has moved.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        """Raises ConfigurationError."""
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._open()
        except OSError as error:
            raise ConfigurationError(f"logging.file: cannot write to {path}: {error.strerror}.") from None

    def write(self, data: bytes) -> None:
        self._follow()
        status = os.fstat(self._fd)
        if stat.S_ISREG(status.st_mode) and status.st_size and status.st_size + len(data) > self._max_bytes:
            self._rotate()
        write_all(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _is_current(self) -> bool:
        """Whether the path still leads to the open file."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _follow(self) -> None:
        if not self._is_current():
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh

    def _rotate(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)  # released when the old file is closed
        if self._is_current():
            for number in range(self._kept - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
        self._follow()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
