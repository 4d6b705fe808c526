"""Bytes in files of this machine. A file has its final name only when it is whole and durable."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.adapters.blobs.part import DiskPart
from orchestrator.domain.errors import NotFound, QuotaExceeded, StorageUnavailable

PIECE = 1 << 20  # bytes read at once in a thread
CACHED = 1 << 19  # bytes read at once from memory
NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)  # Linux
BATCH = 1_000  # keys listed at once
FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskStaging:
    """`Staging` in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, key: str, offset: int, *, digested: bool = True) -> DiskPart:
        return DiskPart(await asyncio.to_thread(self._open, key, offset), offset, translated, digested=digested)

    def _open(self, key: str, offset: int) -> int:
        with translated():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._folder / key, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if os.fstat(handle).st_size < offset:
                    raise NotFound("the beginning of this upload is not on this machine")
                os.ftruncate(handle, offset)
                os.lseek(handle, offset, os.SEEK_SET)
            except BaseException:
                os.close(handle)
                raise
            return handle

    async def digest(self, key: str) -> str:
        return await asyncio.to_thread(self._digest, key)

    def _digest(self, key: str) -> str:
        with translated(), (self._folder / key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    async def path(self, key: str) -> Path:
        return self._folder / key

    async def discard(self, keys: Collection[str]) -> None:
        await asyncio.to_thread(self._discard, list(keys))

    def _discard(self, keys: list[str]) -> None:
        with translated():
            for key in keys:
                (self._folder / key).unlink(missing_ok=True)

    async def keys(self) -> list[str]:
        return await asyncio.to_thread(self._keys)

    def _keys(self) -> list[str]:
        with translated():
            return os.listdir(self._folder) if self._folder.exists() else []


class DiskBlobs:
    """`BlobStore` in folders by the first two characters of the key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, file: Path) -> None:
        await asyncio.to_thread(self._put, key, file)

    def _put(self, key: str, file: Path) -> None:
        target = self._path(key)
        with translated():
            if not target.parent.exists():
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync_folder(self._folder)
            try:
                file.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(file, target)
            _sync_folder(target.parent)

    async def read(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        end = start + length
        handle, piece = await asyncio.to_thread(self._open, key, start, end)
        try:
            while start < end:
                start += len(piece)
                yield piece
                if start < end:
                    piece = await _next(handle, start, end)
        finally:
            os.close(handle)

    def _open(self, key: str, start: int, end: int) -> tuple[int, bytes]:
        """The descriptor, which is the caller's, and the first piece."""
        with translated():
            handle = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return handle, _piece(handle, start, end)
        except BaseException:
            os.close(handle)
            raise

    async def delete(self, keys: Collection[str]) -> None:
        await asyncio.to_thread(self._delete, list(keys))

    def _delete(self, keys: list[str]) -> None:
        with translated():
            for key in keys:
                self._path(key).unlink(missing_ok=True)

    async def keys(self) -> AsyncGenerator[list[str]]:
        for folder in await asyncio.to_thread(_names, self._folder):
            found = await asyncio.to_thread(_names, self._folder / folder)
            found = [name for name in found if name.startswith(folder)]  # others are not ours
            for begin in range(0, len(found), BATCH):
                yield found[begin : begin + BATCH]

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key


async def _next(handle: int, start: int, end: int) -> bytes:
    """What the system has in memory is read at once, which costs less than a change of thread; the rest in a thread."""
    await asyncio.sleep(0)  # others have their turn: a fast client never makes us wait
    return _cached(handle, start, end) or await _from_disk(handle, start, end)


async def _from_disk(handle: int, start: int, end: int) -> bytes:
    reading = asyncio.ensure_future(asyncio.to_thread(_piece, handle, start, end))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait({reading})  # the thread still uses the descriptor; what it met no longer matters
        if not reading.cancelled():
            reading.exception()
        raise


def _cached(handle: int, start: int, end: int) -> bytes:
    """As many bytes as can be had without waiting for a disk: none where the system cannot tell."""
    if not NO_WAIT:
        return b""
    piece = bytearray(min(CACHED, end - start))
    try:
        got = os.preadv(handle, [piece], start, NO_WAIT)
    except OSError:  # not in memory, or not with this file system; what is really wrong shows in the thread
        return b""
    return bytes(memoryview(piece)[:got])


def _piece(handle: int, start: int, end: int) -> bytes:
    with translated():
        piece = os.pread(handle, min(PIECE, end - start), start)
        after = start + len(piece)
        if after < end and hasattr(os, "posix_fadvise"):  # comes into memory while this piece is being sent
            os.posix_fadvise(handle, after, min(PIECE, end - after), os.POSIX_FADV_WILLNEED)
    if not piece and start < end:
        raise StorageUnavailable("a file is shorter than it was")
    return piece


def _names(folder: Path) -> list[str]:
    with translated():
        return sorted(os.listdir(folder)) if folder.exists() else []


def _copy(file: Path, target: Path) -> None:
    """From another file system: under another name until it is whole."""
    draft = target.with_name(f"{target.name}.new")
    with file.open("rb") as source, draft.open("wb") as sink:
        shutil.copyfileobj(source, sink, PIECE)
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(target)
    file.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translated() -> Iterator[None]:
    """The system's errors as the product's own. Paths stay inside."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("the bytes are not there") from None
    except OSError as error:
        if error.errno in FULL:
            raise QuotaExceeded("the disk is full") from None
        raise StorageUnavailable(f"artifacts: {error.strerror}") from error
