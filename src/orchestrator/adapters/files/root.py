"""A folder that nothing leads out of: every name of a path is opened by itself, relative to the folder before it, and a
link is never followed. So a folder that is exchanged for a link in the meantime leads nowhere either."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    QuotaExceeded,
    StorageUnavailable,
)
from orchestrator.domain.tree_path import RESERVED, names_of, text_of
from orchestrator.ports.files import Entry

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LINKS = (errno.ELOOP, errno.EMLINK)
STALE = 86_400.0  # seconds after which an unfinished file is a dead process's


class Root:
    """Blocking. Every method raises as `ports.files` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that holds the path's last name, and that name. `make`: folders that are not there are
        made."""
        names = names_of(path)
        with self._walked(names[:-1], make) as handle, translated(path):
            yield handle, names[-1]

    @contextmanager
    def opened(self, path: str, *, make: bool = False) -> Iterator[int]:
        """The open folder of a path."""
        with self._walked(names_of(path, top=True), make) as handle, translated(path):
            yield handle

    @contextmanager
    def _walked(self, names: tuple[str, ...], make: bool) -> Iterator[int]:
        with translated("."):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for count, name in enumerate(names, 1):
                with translated(text_of(names[:count])):
                    below = _enter(handle, name, make)
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def file(self, path: str) -> Iterator[tuple[int, os.stat_result]]:
        """An open plain file, for reading."""
        with self.parent(path) as (folder, name):
            handle, found = open_plain(folder, name, path)
            try:
                yield handle, found
            finally:
                os.close(handle)

    @contextmanager
    def draft(self) -> Iterator[tuple[int, int, str]]:
        """A new file that has no name of its own yet: its handle, and the folder and name under which it lies. It is
        removed when it was not moved away."""
        with self._drafts() as folder:
            name = secrets.token_hex(16)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                yield handle, folder, name
            finally:
                os.close(handle)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    @contextmanager
    def _drafts(self) -> Iterator[int]:
        with self._walked((), make=False) as root, translated("."):
            folder = _enter(root, RESERVED, make=True)
            try:
                yield folder
            finally:
                os.close(folder)

    def place(self, draft: tuple[int, int, str], path: str, *, overwrite: bool, durable: bool = True) -> Entry:
        """The draft becomes the file of this path."""
        handle, drafts, name = draft
        with translated(path):
            if durable:
                os.fsync(handle)
        with self.parent(path, make=True) as (folder, target):
            check_target(folder, target, path, overwrite)
            if overwrite:
                os.replace(name, target, src_dir_fd=drafts, dst_dir_fd=folder)
            else:
                os.link(name, target, src_dir_fd=drafts, dst_dir_fd=folder, follow_symlinks=False)
            if durable:
                os.fsync(folder)
            return entry_of(path, os.fstat(handle))

    def sweep(self) -> None:
        """Removes what processes left that died while they wrote."""
        if not self.folder.exists():
            return
        with self._drafts() as folder:
            for name in os.listdir(folder):
                with suppress(OSError):
                    if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - STALE:
                        os.unlink(name, dir_fd=folder)


def _enter(folder: int, name: str, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def open_plain(folder: int, name: str, path: str) -> tuple[int, os.stat_result]:
    """A plain file, for reading. Not blocking: the writing end of a pipe may never come."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode):
        return handle, found
    os.close(handle)
    raise Conflict(f"'{path}' is not a file.", details={"path": path})


def check_target(folder: int, name: str, path: str, overwrite: bool) -> None:
    """Raises Conflict when a file may not be put there."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise Conflict(f"'{path}' exists and is not a file.", details={"path": path})
    if not overwrite:
        raise _exists(path)


def _exists(path: str) -> Conflict:
    return Conflict(f"'{path}' exists already.", details={"path": path})


def entry_of(path: str, found: os.stat_result) -> Entry:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    shown = text_of(names_of(path, top=True))
    return Entry(shown, kind, found.st_size, found.st_mtime, stat.S_IMODE(found.st_mode))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """The system's errors as the product's own. Only paths below the root are told."""
    try:
        yield
    except OrchestratorError:
        raise
    except OSError as error:
        raise _told(error, path) from None


def _told(error: OSError, path: str) -> OrchestratorError:
    details = {"path": path}
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"'{path}' does not exist.", details=details)
        case errno.EEXIST:
            return _exists(path)
        case errno.ENOTDIR:
            return Conflict(f"'{path}' is not a folder.", details=details)
        case errno.EISDIR:
            return Conflict(f"'{path}' is a folder.", details=details)
        case errno.ENOTEMPTY:
            return Conflict(f"'{path}' is not empty.", details=details)
        case errno.EINVAL | errno.ENAMETOOLONG | errno.EXDEV | errno.EBUSY:
            return InvalidRequest(f"'{path}': {error.strerror}", details=details)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Conflict(f"'{path}': the service may not do that ({error.strerror}).", details=details)
        case code if code in _LINKS:
            return InvalidRequest(f"'{path}' is a link; links are not followed.", details=details)
        case code if code in _FULL:
            return QuotaExceeded("The disk is full.", details=details)
    return StorageUnavailable(f"files: {error.strerror}")
