"""Archives of anybody, read from begin to end: what they say of themselves is not believed."""

from __future__ import annotations

import bz2
import calendar
import gzip
import importlib
import io
import lzma
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Self, cast

from orchestrator.domain.errors import InvalidRequest, TooLarge
from orchestrator.domain.tree_path import names_of, text_of

MOST_ENTRIES = 10_000
MOST_BYTES = 1 << 30  # of all files together
MOST_RATIO = 200  # of what comes out to what goes in
FREE = 16 << 20  # bytes that may come out at any ratio
_OVERHEAD = 2_048  # bytes of headers and padding an entry of a tar may have beside its content
_MAGIC = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "tar.gz"),
    (b"\xfd7zXZ\0", "tar.xz"),
    (b"BZh", "tar.bz2"),
    (b"(\xb5/\xfd", "tar.zst"),
)
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Packed:
    """One file or folder of an archive; `path` is below where it is taken out. `size` is what the archive says."""

    path: str
    folder: bool
    size: int
    modified: float


class Bounded(io.RawIOBase):
    """What is unpacked, as long as it is within the limits. Raises TooLarge."""

    def __init__(self, inner: IO[bytes], most: int) -> None:
        self._inner = inner
        self._left = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._inner.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise TooLarge("The archive holds too many bytes, or far more than its own size tells.")
        return content


class _Head(tarfile.TarInfo):
    """The library takes a broken header for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if type(error).__name__ in ("InvalidHeaderError", "TruncatedHeaderError"):
                raise tarfile.ReadError(str(error)) from None
            raise  # the end


def kind_of(file: BinaryIO) -> str:
    """By its first bytes."""
    head = file.read(6)
    file.seek(0)
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "tar")


@contextmanager
def unpacked(file: BinaryIO, size: int) -> Iterator[tuple[str, Iterator[tuple[Packed, IO[bytes] | None]]]]:
    """The kind of an archive of `size` bytes, and its entries in their order, each to be read before the next. Raises
    InvalidRequest for one that is broken, or holds what is neither file nor folder, or leads outside; TooLarge."""
    kind = kind_of(file)
    try:
        if kind == "zip":
            with zipfile.ZipFile(file) as archive:
                yield kind, _checked(_zip_entries(archive, size))
        else:
            stream = Bounded(_opened(kind, file), _most(size) + MOST_ENTRIES * _OVERHEAD)
            with tarfile.open(fileobj=cast(Any, stream), mode="r|", tarinfo=_Head) as tar:
                yield kind, _checked(_tar_entries(tar))
    except (*BROKEN, NotImplementedError, RuntimeError, RecursionError) as error:
        raise InvalidRequest(f"The archive cannot be read: {str(error)[:200] or type(error).__name__}") from None
    except MemoryError:
        raise TooLarge("The archive takes too much memory.") from None


def _opened(kind: str, file: BinaryIO) -> IO[bytes]:
    match kind:
        case "tar.gz":
            return cast(IO[bytes], gzip.GzipFile(fileobj=file))
        case "tar.xz":
            return lzma.LZMAFile(file)
        case "tar.bz2":
            return bz2.BZ2File(file)
        case "tar.zst":
            return cast(IO[bytes], zstd().ZstdFile(file))
    return file


def zstd() -> Any:
    if sys.version_info < (3, 14):
        raise InvalidRequest("tar.zst needs Python 3.14")
    return importlib.import_module("compression.zstd")


def _most(size: int) -> int:
    """Bytes that may come out of an archive of this size."""
    return min(MOST_BYTES, max(FREE, size * MOST_RATIO))


def _checked(entries: Iterator[tuple[Packed, IO[bytes] | None]]) -> Iterator[tuple[Packed, IO[bytes] | None]]:
    seen: set[str] = set()
    told = 0
    for count, (entry, content) in enumerate(entries, 1):
        if count > MOST_ENTRIES:
            raise TooLarge(f"The archive has more than {MOST_ENTRIES:,} entries.")
        told += entry.size
        if told > MOST_BYTES:
            raise TooLarge(f"The archive holds more than {MOST_BYTES:,} bytes.")
        if entry.path == ".":
            continue
        if entry.path in seen and not entry.folder:
            raise InvalidRequest(f"The archive holds '{entry.path}' twice.")
        seen.add(entry.path)
        yield entry, content


def _zip_entries(archive: zipfile.ZipFile, size: int) -> Iterator[tuple[Packed, IO[bytes] | None]]:
    left = _most(size)
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _neither(info.filename)
        if info.flag_bits & 1:
            raise InvalidRequest(f"'{info.filename[:200]}' is encrypted.")
        path = text_of(_inside(info.orig_filename.removesuffix("/")))
        if info.is_dir():
            yield Packed(path, True, 0, _moment(info)), None
            continue
        left -= info.file_size
        if left < 0:
            raise TooLarge("The archive holds too many bytes, or far more than its own size tells.")
        with archive.open(info) as content:
            yield Packed(path, False, info.file_size, _moment(info)), content


def _moment(info: zipfile.ZipInfo) -> float:
    """It has no zone; as UTC."""
    return float(calendar.timegm((*info.date_time, 0, 0, 0)))


def _tar_entries(tar: tarfile.TarFile) -> Iterator[tuple[Packed, IO[bytes] | None]]:
    for member in tar:
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise _neither(member.name)
        path = text_of(_inside(member.name))
        if member.isdir():
            yield Packed(path, True, 0, float(member.mtime)), None
        else:
            yield Packed(path, False, member.size, float(member.mtime)), tar.extractfile(member)


def _inside(name: str) -> tuple[str, ...]:
    try:
        return names_of(name, top=True)
    except InvalidRequest as error:
        shown = name[:200].encode(errors="replace").decode()
        raise InvalidRequest(f"The archive's entry {shown!r}: {error.message}") from None


def _neither(name: str) -> InvalidRequest:
    shown = name[:200].encode(errors="replace").decode()
    return InvalidRequest(f"The archive's entry {shown!r} is neither a file nor a folder; links are not taken out.")
