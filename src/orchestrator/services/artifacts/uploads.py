"""Bytes on their way in: in one request, or in several that go on where the last one ended.

An upload has its row before its first byte and its artifact's row only when all bytes are durable and checked, so that
whatever a crash leaves behind is told apart from what counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

from orchestrator.domain.artifact import Artifact, Upload, read_digest, stored
from orchestrator.domain.errors import (
    BodyIncomplete,
    Conflict,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    TooLarge,
)
from orchestrator.ports.artifacts import UploadStore
from orchestrator.ports.blobs import BlobStore, Part, Staging
from orchestrator.services.artifacts.artifacts import Artifacts, expiry
from orchestrator.services.artifacts.described import Described

CHECKPOINT = 64 << 20  # bytes after which a resumable upload is made durable
ALIVE = 20.0  # seconds after which an upload that makes progress says so; see `Sweeper`
_log = logging.getLogger("orchestrator.artifacts")


class Uploads:
    """The use cases. Every method raises StorageUnavailable."""

    def __init__(
        self,
        store: UploadStore,
        staging: Staging,
        blobs: BlobStore,
        artifacts: Artifacts,
        wall: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`wall` tells the time in seconds since the epoch, `new_id` a UUID."""
        self._store = store
        self._staging = staging
        self._blobs = blobs
        self._artifacts = artifacts
        self._wall = wall
        self._new_id = new_id
        self._busy: set[str] = set()  # uploads that a request of this process writes to

    async def store(self, told: Described, pieces: AsyncIterator[bytes], upload_id: str = "") -> Artifact:
        """All bytes in one go; nothing of them is left when this raises. Raises InvalidRequest (also for a digest or
        size that is not what was told), TooLarge, QuotaExceeded, and Conflict where `upload_id` is in use."""
        upload = self._upload(told, upload_id, resumable=False)
        done = begun = False
        self._take_turn(upload.id)
        try:
            await self._store.begin(upload, self._artifacts.rules.quota)
            begun = True
            part = await self._staging.open(upload.id, 0)
            try:
                await self._take(upload, part, pieces)
                await part.sync()
                size, digest = part.size, part.digest()
            finally:
                await part.close()
            artifact = await self._finish(upload, size, digest)
            done = True
            return artifact
        finally:
            self._busy.discard(upload.id)
            if begun and not done:
                await self._undo(upload.id)

    async def begin(self, told: Described) -> Upload:
        """An upload to which bytes may be appended until `finish`. Raises as `store` does."""
        upload = self._upload(told, "", resumable=True)
        await self._store.begin(upload, self._artifacts.rules.quota)
        return upload

    async def get(self, upload_id: str) -> Upload:
        """Raises NotFound."""
        upload = await self._store.get(upload_id)
        if upload is None or not upload.resumable:
            raise NotFound("Upload not found", details={"code": "UPLOAD_NOT_FOUND", "upload_id": upload_id})
        return upload

    async def append(
        self, upload_id: str, offset: int, pieces: AsyncIterator[bytes], length: int | None = None
    ) -> Upload:
        """More bytes, from `offset` on; `length` of them, where that is known. What came until the client left stays:
        `get` tells how far it is. Raises NotFound, Conflict when that is not where it ended or when another request
        writes, TooLarge, and InvalidRequest for more than was announced."""
        upload = await self.get(upload_id)
        if upload.offset != offset:
            raise Conflict(
                f"The upload has {upload.offset:,} bytes: go on there.",
                details={"code": "UPLOAD_OFFSET", "offset": upload.offset},
            )
        self._check_size(offset + (length or 0), upload.size)
        self._take_turn(upload_id)
        try:
            part = await self._staging.open(upload_id, offset, digested=False)  # `finish` reads the whole
            try:
                return await self._append(upload, part, pieces)
            finally:
                await part.close()
        finally:
            self._busy.discard(upload_id)

    async def finish(self, upload_id: str, sha256: str = "") -> Artifact:
        """The upload becomes an artifact; one that has become it already is answered with it. Raises NotFound,
        InvalidRequest for bytes that are not what was told (the upload stays as it is), QuotaExceeded, Conflict while
        another request writes."""
        upload = await self._store.get(upload_id)
        if upload is None:
            return await self._finished(upload_id)
        if sha256:
            upload = replace(upload, sha256=read_digest(sha256))
        self._take_turn(upload_id)
        try:
            part = await self._staging.open(upload_id, upload.offset, digested=False)  # cuts off what is not durable
            await part.close()
            return await self._finish(upload, upload.offset, await self._staging.digest(upload_id))
        finally:
            self._busy.discard(upload_id)

    async def cancel(self, upload_id: str) -> None:
        """Raises NotFound, Conflict while another request writes."""
        await self.get(upload_id)
        self._take_turn(upload_id)
        try:
            await self._undo(upload_id)
        finally:
            self._busy.discard(upload_id)

    async def _finished(self, upload_id: str) -> Artifact:
        try:
            return await self._artifacts.get(upload_id)
        except NotFound:
            raise NotFound("Upload not found", details={"code": "UPLOAD_NOT_FOUND", "upload_id": upload_id}) from None

    def busy(self, upload_id: str) -> bool:
        """Whether a request of this process writes to it."""
        return upload_id in self._busy

    def _upload(self, told: Described, upload_id: str, *, resumable: bool) -> Upload:
        rules, now = self._artifacts.rules, self._wall()
        self._check_size(told.size or 0)
        return Upload(
            upload_id or self._new_id(),
            told.file_name,
            told.mime_type,
            created_at=now,
            touched_at=now,
            origin=told.origin,
            size=told.size,
            sha256=read_digest(told.sha256) if told.sha256 else "",
            expires_at=expiry(told.expires_at, rules.keep, now),
            resumable=resumable,
        )

    def _take_turn(self, upload_id: str) -> None:
        if upload_id in self._busy:
            raise Conflict("Another request works on this upload.", details={"code": "UPLOAD_BUSY"})
        self._busy.add(upload_id)

    async def _take(self, upload: Upload, part: Part, pieces: AsyncIterator[bytes]) -> None:
        said = self._wall()
        async for piece in pieces:
            await part.write(piece)
            self._check_size(part.size, upload.size)
            if self._wall() - said > ALIVE:
                said = self._wall()
                await self._store.advance(upload.id, 0, 0, said)

    async def _append(self, upload: Upload, part: Part, pieces: AsyncIterator[bytes]) -> Upload:
        try:
            async for piece in pieces:
                self._check_size(part.size + len(piece), upload.size)
                await part.write(piece)
                if part.size - upload.offset >= CHECKPOINT or self._wall() - upload.touched_at > ALIVE:
                    upload = await self._checkpoint(upload, part)
        except BodyIncomplete:
            await self._checkpoint(upload, part)
            raise
        return await self._checkpoint(upload, part)

    async def _checkpoint(self, upload: Upload, part: Part) -> Upload:
        await part.sync()
        size, now = part.size, self._wall()
        if not await self._store.advance(upload.id, upload.offset, size, now):
            raise Conflict("The upload was changed or cancelled meanwhile.", details={"code": "UPLOAD_OFFSET"})
        return replace(upload, offset=size, touched_at=now)

    async def _finish(self, upload: Upload, size: int, digest: str) -> Artifact:
        """Everything is durable in the staging."""
        if upload.size is not None and size != upload.size:
            raise InvalidRequest(
                f"{size:,} bytes came, {upload.size:,} were announced.", details={"code": "SIZE_MISMATCH", "size": size}
            )
        if upload.sha256 and digest != upload.sha256:
            raise InvalidRequest(
                "The bytes have another SHA-256 than announced.", details={"code": "DIGEST_MISMATCH", "sha256": digest}
            )
        artifact = stored(upload, size, digest, self._wall())
        await self._blobs.put(upload.id, await self._staging.path(upload.id))
        try:
            if not await self._store.finish(artifact, self._artifacts.rules.quota):
                raise Conflict("The upload was cancelled meanwhile.", details={"code": "UPLOAD_NOT_FOUND"})
        except OrchestratorError:
            # The staging no longer has it. Where it is not known whether the row was written, the row decides.
            await self._undo(upload.id)
            raise
        self._artifacts.counters.uploaded += 1
        self._artifacts.counters.uploaded_bytes += size
        return artifact

    async def _undo(self, upload_id: str) -> None:
        """Also when the request was cancelled: what fails here is left to the clean-up."""
        with suppress(OrchestratorError):
            await asyncio.shield(self._forget(upload_id))

    async def _forget(self, upload_id: str) -> None:
        if await self._store.drop([upload_id]):
            await self._staging.discard([upload_id])
            await self._blobs.delete([upload_id])

    def _check_size(self, size: int, told: int | None = None) -> None:
        most = self._artifacts.rules.max_size
        if size > most:
            raise TooLarge(f"An artifact is at most {most:,} bytes.", details={"max_bytes": most})
        if told is not None and size > told:
            raise InvalidRequest(f"More than the announced {told:,} bytes came.", details={"code": "SIZE_MISMATCH"})
