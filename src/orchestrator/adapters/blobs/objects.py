"""Bytes in an object store: S3, GCS, Azure, by obstore (the extra `artifacts-cloud`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from orchestrator.domain.errors import ConfigurationError, NotFound, StorageUnavailable

PIECE = 1 << 20  # bytes
BATCH = 1_000  # keys listed or deleted at once
_log = logging.getLogger("orchestrator.artifacts")


def open_objects(url: str) -> ObjectBlobs:
    """`s3://bucket/prefix`, `gs://`, `az://`. Credentials come from the environment, as the provider's own tools read
    them. Raises ConfigurationError."""
    try:
        return ObjectBlobs(from_url(url))
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"artifacts.url: {str(error).splitlines()[0]}") from error


class ObjectBlobs:
    """`BlobStore` on an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, file: Path) -> None:
        try:
            with _translated():
                await obstore.put_async(self._store, key, file)
        except NotFound:
            raise StorageUnavailable("the object store has no such bucket or container") from None
        await asyncio.to_thread(file.unlink, missing_ok=True)

    async def read(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        with _translated():
            if not length:  # an empty range is none
                await obstore.head_async(self._store, key)
                return
            found = await obstore.get_async(self._store, key, options={"range": (start, start + length)})
            left = length
            async for piece in found.stream(min_chunk_size=PIECE):
                left -= len(piece)
                yield bytes(piece)
        if left:
            raise StorageUnavailable("an object is shorter than it was")

    async def delete(self, keys: Collection[str]) -> None:
        wanted = list(keys)
        for begin in range(0, len(wanted), BATCH):
            with _translated():
                try:
                    await obstore.delete_async(self._store, wanted[begin : begin + BATCH])
                except (FileNotFoundError, NotFoundError):
                    await self._one_by_one(wanted[begin : begin + BATCH])

    async def _one_by_one(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except (FileNotFoundError, NotFoundError):
                continue

    async def keys(self) -> AsyncGenerator[list[str]]:
        with _translated():
            async for batch in obstore.list(self._store, chunk_size=BATCH):
                yield [one["path"] for one in batch]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise NotFound("the bytes are not there") from None
    except (BaseError, OSError) as error:  # clients need not know what the store is and where
        _log.warning("object_store_failed", extra={"error": str(error).splitlines()[0][:300]})
        raise StorageUnavailable("the object store refused, or did not answer") from error
