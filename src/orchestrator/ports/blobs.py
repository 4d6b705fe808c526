"""Where bytes are kept. Keys are ids of artifacts; no name that a user gave ever becomes a path."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from typing import Protocol


class Part(Protocol):
    """A file that is being written. Used by one caller at a time."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    async def write(self, data: bytes) -> None:
        """Raises QuotaExceeded when the disk is full, StorageUnavailable for other failures."""

    async def sync(self) -> None:
        """Everything written is durable. The same errors."""

    async def close(self) -> None:
        """Gives the file free; what was not synced may be lost."""

    def digest(self) -> str:
        """SHA-256 of what was written since the file was opened, in hexadecimal; everything must be synced."""


class Staging(Protocol):
    """Files on this machine whose bytes are still coming."""

    async def open(self, key: str, offset: int, *, digested: bool = True) -> Part:
        """To be written from `offset` on; what is behind it is cut off. Nobody asks for the part's digest unless it is
        `digested`. Raises NotFound when fewer bytes are there."""

    async def digest(self, key: str) -> str:
        """Reads the whole file. Raises NotFound."""

    async def path(self, key: str) -> Path:
        """Where the file is."""

    async def discard(self, keys: Collection[str]) -> None:
        """Those that are not there do no harm."""

    async def keys(self) -> list[str]: ...


class BlobStore(Protocol):
    """Whole files. Every method raises StorageUnavailable when the store cannot be reached."""

    async def put(self, key: str, file: Path) -> None:
        """Moves the file in; durable when this returns."""

    def read(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        """The bytes in pieces. Raises NotFound before the first when there is no such blob, and StorageUnavailable when
        it ends too soon."""

    async def delete(self, keys: Collection[str]) -> None:
        """Those that are not there do no harm."""

    def keys(self) -> AsyncGenerator[list[str]]:
        """All of them, in batches."""
