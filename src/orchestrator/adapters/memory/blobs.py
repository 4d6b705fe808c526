"""Bytes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from pathlib import Path

from orchestrator.domain.errors import NotFound, StorageUnavailable

PIECE = 1 << 20


class MemoryBlobs:
    """`BlobStore` in a dict."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        self._blobs[key] = await asyncio.to_thread(file.read_bytes)
        await asyncio.to_thread(file.unlink)

    async def read(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        blob = self._blobs.get(key)
        if blob is None:
            raise NotFound("the bytes are not there")
        for begin in range(start, start + length, PIECE):
            piece = blob[begin : min(begin + PIECE, start + length)]
            if len(piece) < min(PIECE, start + length - begin):
                raise StorageUnavailable("a file is shorter than it was")
            yield piece

    async def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            self._blobs.pop(key, None)

    async def keys(self) -> AsyncGenerator[list[str]]:
        yield list(self._blobs)
