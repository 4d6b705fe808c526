"""Removes what nobody needs: expired artifacts, uploads that were given up, bytes without a row; and looks at bytes
that were not looked at for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.domain.artifact import Usage
from orchestrator.domain.errors import OrchestratorError
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery, ArtifactStore, UploadStore
from orchestrator.ports.blobs import BlobStore, Staging
from orchestrator.services.artifacts.artifacts import Artifacts
from orchestrator.services.artifacts.uploads import Uploads

STEP = 500  # rows at once
LEASE = 120.0  # seconds: an upload of one request that says nothing for so long has no process any more
_log = logging.getLogger("orchestrator.artifacts")


@dataclass(slots=True)
class Swept:
    """How many went, how many were looked at, and the ids of those found damaged or missing."""

    expired: int = 0
    uploads: int = 0
    orphans: int = 0
    verified: int = 0
    damaged: tuple[str, ...] = ()


class Sweeper:
    """One per process; several processes may sweep the same store."""

    def __init__(
        self,
        store: ArtifactStore,
        uploads: UploadStore,
        staging: Staging,
        blobs: BlobStore,
        artifacts: Artifacts,
        running: Uploads,
        wall: Callable[[], float],
        *,
        alone: bool,
    ) -> None:
        """`alone`: no other process uses this store, so uploads that are not this process's have nobody."""
        self.usage = Usage()  # as of the last sweep
        self._store = store
        self._uploads = uploads
        self._staging = staging
        self._blobs = blobs
        self._artifacts = artifacts
        self._running = running
        self._wall = wall
        self._alone = alone
        self._turn = asyncio.Lock()

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """At once, and then again and again until cancelled."""
        while True:
            try:
                await self.sweep()
            except OrchestratorError as error:
                _log.warning("artifacts_not_swept", extra={"error": error.message})
            await sleep(self._artifacts.rules.sweep)

    async def sweep(self, *, verify_all: bool = False) -> Swept:
        """One clean-up; with `verify_all` all bytes are looked at. Raises StorageUnavailable."""
        async with self._turn:
            swept = Swept()
            swept.uploads = await self._given_up()
            swept.expired = await self._expired()
            swept.orphans = await self._orphans()
            await self._verify(swept, verify_all=verify_all)
            self.usage = await self._store.usage()
        if swept != Swept(verified=swept.verified):
            _log.info(
                "artifacts_swept",
                extra={"expired": swept.expired, "uploads": swept.uploads, "orphans": swept.orphans},
            )
        return swept

    async def _given_up(self) -> int:
        now, total = self._wall(), 0
        single = now if self._alone else now - LEASE
        resumable = now - self._artifacts.rules.upload_patience
        while stale := await self._uploads.stale(single, resumable, STEP):
            ids = [one.id for one in stale if not self._running.busy(one.id)]
            if not ids:
                break
            total += await self._uploads.drop(ids)
            await self._staging.discard(ids)
            await self._blobs.delete(ids)
        return self._count("upload", total)

    async def _expired(self) -> int:
        total = 0
        query = ArtifactQuery(expired=self._wall(), order=ArtifactOrder.EXPIRING, limit=STEP)
        while old := await self._store.page(query):
            total += await self._artifacts.remove([one.id for one in old], "expired")
        return total

    async def _orphans(self) -> int:
        """Bytes are listed first: whoever wrote them had a row before, and has one still unless it was deleted."""
        total = 0
        staged = await self._staging.keys()
        for begin in range(0, len(staged), STEP):
            some = await self._unknown(staged[begin : begin + STEP])
            await self._staging.discard(some)
            total += len(some)
        keys = self._blobs.keys()
        try:
            async for batch in keys:
                some = await self._unknown(batch)
                await self._blobs.delete(some)
                total += len(some)
        finally:
            await keys.aclose()
        return self._count("orphan", total)

    async def _unknown(self, keys: list[str]) -> list[str]:
        known = await self._store.known([key.partition(".")[0] for key in keys])
        return [key for key in keys if key.partition(".")[0] not in known]

    async def _verify(self, swept: Swept, *, verify_all: bool) -> None:
        rules, now = self._artifacts.rules, self._wall()
        left = rules.verify_rate * rules.sweep
        before = now if verify_all else now - rules.verify_after
        query = ArtifactQuery(verified=before, order=ArtifactOrder.UNVERIFIED, limit=STEP)
        damaged: list[str] = []
        while some := await self._store.page(query):
            for artifact in some:
                if left < artifact.size and not verify_all and swept.verified:
                    return
                found = await self._artifacts.verify(artifact)
                if found.sha256 != artifact.sha256:
                    damaged.append(artifact.id)
                    swept.damaged = tuple(damaged)
                swept.verified += 1
                left -= artifact.size

    def _count(self, why: str, count: int) -> int:
        removed = self._artifacts.counters.removed
        if count:
            removed[why] = removed.get(why, 0) + count
        return count
