"""A file that is being written: blocks go to a thread that writes and digests them while the next one comes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

BLOCK = 1 << 20  # bytes handed to the thread at once


class DiskPart:
    """`Part` on a file descriptor, which it owns."""

    def __init__(
        self,
        handle: int,
        offset: int,
        translated: Callable[[], AbstractContextManager[None]],
        *,
        digested: bool,
    ) -> None:
        self._handle = handle
        self._translated = translated
        self._digest = hashlib.sha256() if digested else None
        self._waiting: list[bytes] = []
        self._held = 0  # bytes that wait
        self._size = offset
        self._writing: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        return self._size

    async def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._held += len(data)
        self._size += len(data)
        if self._held >= BLOCK:
            await self._hand_over()

    async def sync(self) -> None:
        await self._hand_over()
        await self._written()
        await asyncio.to_thread(self._sync)

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.wait({self._writing})  # the thread still uses the descriptor; what it met no longer matters
            if not self._writing.cancelled():
                self._writing.exception()
            self._writing = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def digest(self) -> str:
        assert self._digest is not None, "opened without a digest"
        return self._digest.hexdigest()

    async def _hand_over(self) -> None:
        await self._written()
        if self._waiting:
            blocks, self._waiting, self._held = self._waiting, [], 0
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, blocks))

    async def _written(self) -> None:
        """Until the thread is free; raises what it met."""
        writing = self._writing
        if writing is not None:
            await asyncio.shield(writing)
            self._writing = None

    def _write(self, blocks: list[bytes]) -> None:
        with self._translated():
            for block in blocks:
                view = memoryview(block)
                while view:
                    view = view[os.write(self._handle, view) :]
        if self._digest is not None:
            for block in blocks:
                self._digest.update(block)

    def _sync(self) -> None:
        with self._translated():
            os.fsync(self._handle)
