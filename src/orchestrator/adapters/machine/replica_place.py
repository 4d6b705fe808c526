"""Which of the processes on a data directory this one is, and which that were there before are dead.

Each process holds the lock of one numbered file below the directory for as long as it lives, however it ends. A file
that can be locked tells who had it: that process is gone, and nobody need wait for its lease. The file knows its host
and its own number on the disk, so that a copy of the directory elsewhere says nothing about processes that live.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows: leases have to do
    fcntl = None  # type: ignore[assignment]

FOLDER = "replicas"
MOST = 64  # processes on one directory
LARGEST = 65_536  # bytes of a file
_log = logging.getLogger("orchestrator.storage")


class ReplicaPlace:
    """The place is left when the block ends, or the process does. Where none can be had, `name` is drawn anew and
    `dead` is empty."""

    def __init__(self, folder: Path, owner: str) -> None:
        """`folder` is the data directory; `owner` what the process is called in the ledger, another one each time."""
        self.name = uuid4().hex[:12]  # the same for whoever has this place
        self.dead: tuple[str, ...] = ()  # owners that are certainly gone
        self._owner = owner
        self._folder = folder / FOLDER
        self._file: int | None = None

    def __enter__(self) -> Self:
        if fcntl is None:
            return self
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(MOST):
                self._try(self._folder / f"{number}.json")
        except OSError as error:
            _log.warning("no_replica_place", extra={"error": error.strerror})
        if self._file is not None:
            self._write(self._file, [*self.dead, self._owner])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def settled(self) -> None:
        """The tasks of the dead are somebody's again."""
        if self._file is not None and self.dead:
            self._write(self._file, [self._owner])

    def _try(self, path: Path) -> None:
        """Takes a free file; of a second one only what it tells."""
        if self._file is not None and not path.exists():
            return
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a process that lives
            os.close(file)
            return
        said = _read(file)
        self.dead += tuple(owner for owner in said.get("owners", ()) if owner not in self.dead)
        if self._file is None:
            self._file = file
            self.name = said.get("name", self.name)
        else:
            os.close(file)

    def _write(self, file: int, owners: list[str]) -> None:
        text = json.dumps({"name": self.name, "owners": owners, **_identity(file)}).encode()
        with suppress(OSError):  # a full disk: those who look later find no dead, and wait for leases
            os.ftruncate(file, 0)
            os.pwrite(file, text, 0)
            os.fsync(file)


def _identity(file: int) -> dict[str, Any]:
    return {"host": socket.gethostname(), "inode": os.fstat(file).st_ino}


def _read(file: int) -> dict[str, Any]:
    """What a process wrote into this file, on this host; else nothing."""
    try:
        said = json.loads(os.pread(file, LARGEST, 0))
        if {name: said[name] for name in ("host", "inode")} != _identity(file):
            return {}
        return {"name": str(said["name"]), "owners": [str(owner) for owner in said["owners"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
