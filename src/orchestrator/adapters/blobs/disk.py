"""Bytes in files of this machine. A file has its final name only when it is whole and durable."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.adapters.blobs.part import DiskPart
from orchestrator.domain.errors import NotFound, QuotaExceeded, StorageUnavailable

PIECE = 1 << 20  # bytes read at once
BATCH = 1_000  # keys listed at once
FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskStaging:
    """`Staging` in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, key: str, offset: int) -> DiskPart:
        return DiskPart(await asyncio.to_thread(self._open, key, offset), offset, translated)

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
        handle = await asyncio.to_thread(self._open, key)
        try:
            end = start + length
            coming = asyncio.ensure_future(asyncio.to_thread(_piece, handle, start, end))
            try:
                while start < end:
                    piece = await coming
                    start += len(piece)
                    if start < end:  # read while the piece before is being sent
                        coming = asyncio.ensure_future(asyncio.to_thread(_piece, handle, start, end))
                    yield piece
            finally:
                with suppress(StorageUnavailable):  # nobody asks for this piece any more
                    await coming
        finally:
            os.close(handle)

    def _open(self, key: str) -> int:
        with translated():
            return os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

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


def _piece(handle: int, start: int, end: int) -> bytes:
    with translated():
        piece = os.pread(handle, min(PIECE, end - start), start)
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
