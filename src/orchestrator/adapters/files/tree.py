"""Files below a root."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

from orchestrator.adapters.files.root import Root, check_target, entry_of, open_plain
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, TooLarge
from orchestrator.domain.tree_path import RESERVED, names_of, text_of
from orchestrator.ports.files import Entry

PIECE = 1 << 20
MOST_LISTED = 100_000  # entries of a folder
MODES = 0o666


class FileTree:
    """`Files`. Each call is a short piece of work in a thread."""

    def __init__(self, folder: Path, max_file: int) -> None:
        """`max_file`: bytes of the largest file that is read or written."""
        self.max_file = max_file
        self.folder = folder
        self._root = Root(folder)

    async def info(self, path: str) -> Entry | None:
        return await asyncio.to_thread(self._info, path)

    async def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return await asyncio.to_thread(self._read, path, offset, length)

    async def page(self, path: str, limit: int, skip: int) -> tuple[tuple[Entry, ...], int]:
        return await asyncio.to_thread(self._page, path, limit, skip)

    async def write(self, path: str, content: bytes, *, append: bool = False, overwrite: bool = True) -> Entry:
        return await asyncio.to_thread(self._append if append else self._write, path, content, overwrite)

    async def copy(self, source: str, destination: str, *, overwrite: bool = True) -> Entry:
        return await asyncio.to_thread(self._copy, source, destination, overwrite)

    async def move(self, source: str, destination: str, *, overwrite: bool = True) -> Entry:
        return await asyncio.to_thread(self._move, source, destination, overwrite)

    async def delete(self, path: str, *, recursive: bool = False) -> None:
        await asyncio.to_thread(self._delete, path, recursive)

    async def make_folder(self, path: str) -> Entry:
        return await asyncio.to_thread(self._make_folder, path)

    async def set_mode(self, path: str, mode: int) -> Entry:
        return await asyncio.to_thread(self._set_mode, path, mode)

    async def sweep(self) -> None:
        """Removes what dead processes have left."""
        await asyncio.to_thread(self._root.sweep)

    def _info(self, path: str) -> Entry | None:
        try:
            if not names_of(path, top=True):
                with self._root.opened(path) as handle:
                    return entry_of(path, os.fstat(handle))
            with self._root.parent(path) as (folder, name):
                return entry_of(path, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except NotFound:
            return None

    def _read(self, path: str, offset: int, length: int | None) -> bytes:
        with self._root.file(path) as (handle, found):
            wanted = max(0, found.st_size - offset) if length is None else length
            self._check_size(min(wanted, max(0, found.st_size - offset)))
            pieces, left = [], min(wanted, self.max_file)
            while left and (piece := os.pread(handle, min(PIECE, left), offset)):
                pieces.append(piece)
                offset += len(piece)
                left -= len(piece)
            return b"".join(pieces)

    def _page(self, path: str, limit: int, skip: int) -> tuple[tuple[Entry, ...], int]:
        above = names_of(path, top=True)
        with self._root.opened(path) as handle:
            names = []
            with os.scandir(handle) as found:
                for one in found:
                    if above or one.name != RESERVED:
                        names.append(one.name)
                    if len(names) > MOST_LISTED:
                        raise TooLarge(f"'{path}' holds more than {MOST_LISTED:,} entries.")
            names.sort()
            entries = []
            for name in names[skip : skip + limit]:
                entry = _listed(handle, above, name)
                if entry is not None:
                    entries.append(entry)
            return tuple(entries), len(names)

    def _write(self, path: str, content: bytes, overwrite: bool) -> Entry:
        self._check_size(len(content))
        with self._root.parent(path, make=True) as (folder, name):  # says so before anything is written
            check_target(folder, name, path, overwrite)
        with self._root.draft() as draft:
            write_all(draft[0], content)
            return self._root.place(draft, path, overwrite=overwrite)

    def _append(self, path: str, content: bytes, _overwrite: bool) -> Entry:
        with self._root.parent(path, make=True) as (folder, name):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode):
                    raise Conflict(f"'{path}' is not a file.", details={"path": path})
                self._check_size(found.st_size + len(content))
                write_all(handle, content)
                os.fsync(handle)
                os.fsync(folder)
                return entry_of(path, os.fstat(handle))
            finally:
                os.close(handle)

    def _copy(self, source: str, destination: str, overwrite: bool) -> Entry:
        if names_of(source) == names_of(destination):
            raise InvalidRequest("source and destination are the same file")
        with self._root.file(source) as (handle, found):
            self._check_size(found.st_size)
            with self._root.draft() as draft:
                offset = 0
                while piece := os.pread(handle, PIECE, offset):
                    offset += len(piece)
                    self._check_size(offset)  # it may grow meanwhile
                    write_all(draft[0], piece)
                return self._root.place(draft, destination, overwrite=overwrite)

    def _move(self, source: str, destination: str, overwrite: bool) -> Entry:
        with self._root.parent(source) as (below, name), self._root.parent(destination, make=True) as (folder, target):
            found = os.stat(name, dir_fd=below, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                check_target(folder, target, destination, overwrite)
            elif not stat.S_ISDIR(found.st_mode):
                raise Conflict(f"'{source}' is neither a file nor a folder.", details={"path": source})
            if overwrite or stat.S_ISDIR(found.st_mode):
                _rename(below, name, folder, target, destination, found)
            else:
                os.link(name, target, src_dir_fd=below, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(name, dir_fd=below)
            os.fsync(folder)
            os.fsync(below)
            return entry_of(destination, found)

    def _delete(self, path: str, recursive: bool) -> None:
        with self._root.parent(path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=folder)  # of a link only the link
            elif recursive:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.rmdir(name, dir_fd=folder)
            os.fsync(folder)

    def _make_folder(self, path: str) -> Entry:
        with self._root.opened(path, make=True) as handle:
            os.fsync(handle)
            return entry_of(path, os.fstat(handle))

    def _set_mode(self, path: str, mode: int) -> Entry:
        if mode & ~MODES:
            raise InvalidRequest("mode: only the bits for reading and writing, at most 666")
        with self._root.parent(path) as (folder, name):
            handle, _ = open_plain(folder, name, path)
            try:
                os.fchmod(handle, mode)
                return entry_of(path, os.fstat(handle))
            finally:
                os.close(handle)

    def _check_size(self, size: int) -> None:
        if size > self.max_file:
            raise TooLarge(
                f"{size:,} bytes are over the limit of {self.max_file:,} bytes for one file (tools.max_file).",
                details={"limit": self.max_file},
            )


def _listed(handle: int, above: tuple[str, ...], name: str) -> Entry | None:
    """None for what is gone meanwhile, or has a name that no path can have."""
    try:
        return entry_of(text_of((*above, name)), os.stat(name, dir_fd=handle, follow_symlinks=False))
    except (FileNotFoundError, InvalidRequest):
        return None


def _rename(below: int, name: str, folder: int, target: str, path: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        try:
            os.stat(target, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            raise Conflict(f"'{path}' exists already.", details={"path": path})
    os.replace(name, target, src_dir_fd=below, dst_dir_fd=folder)


def write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
