"""Files below one root, as tools see them. Nothing outside it can be reached, whatever links lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """`path` is below the root. `kind`: file, directory, link or other. `size` in bytes, `modified` in seconds since
    the epoch, `mode` the permission bits."""

    path: str
    kind: str
    size: int
    modified: float
    mode: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class ReadableFiles(Protocol):
    """Every method raises InvalidRequest for a path that leads outside or through a link, NotFound, Conflict for a
    folder where a file is needed (and the other way round), StorageUnavailable."""

    async def info(self, path: str) -> Entry | None:
        """What is there; None for nothing. A link is shown, never followed."""

    async def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Raises TooLarge when more than the limit would be read."""

    async def page(self, path: str, limit: int, skip: int) -> tuple[tuple[Entry, ...], int]:
        """What a folder holds, by name, and how much that is. Raises TooLarge for a folder that is too large to
        list."""


class Files(ReadableFiles, Protocol):
    """Also raises QuotaExceeded when the disk is full. Folders above a new file are made. What is written has its name
    only when it is whole and durable."""

    async def write(self, path: str, content: bytes, *, append: bool = False, overwrite: bool = True) -> Entry:
        """Raises TooLarge for a file over the limit, Conflict when it exists and is not to be overwritten. What is
        appended to a file is durable, too, but a crash may leave a part of it."""

    async def copy(self, source: str, destination: str, *, overwrite: bool = True) -> Entry:
        """Of a file."""

    async def move(self, source: str, destination: str, *, overwrite: bool = True) -> Entry:
        """Of a file or folder."""

    async def delete(self, path: str, *, recursive: bool = False) -> None:
        """Raises Conflict for a folder that holds something, unless `recursive`."""

    async def make_folder(self, path: str) -> Entry:
        """One that is there already stays."""

    async def set_mode(self, path: str, mode: int) -> Entry:
        """The permission bits for reading and writing of a file."""
