"""Where artifacts are listed. Their bytes are in a `BlobStore`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.domain.artifact import Artifact, ArtifactState, Quota, Upload, Usage


class ArtifactOrder(StrEnum):
    OLDEST = "oldest"
    NEWEST = "newest"
    LARGEST = "largest"
    EXPIRING = "expiring"  # those first that go first; the others are not among them
    UNVERIFIED = "unverified"  # of those with bytes here, those first that were not looked at for the longest time
    RELEVANCE = "relevance"  # how well they fit the text, then the newest


@dataclass(frozen=True, slots=True)
class ArtifactQuery:
    """What all of them share; empty and None: anything. `input`: made of this artifact. `larger` in bytes, exclusive.
    `expired`, `verified`: before these moments; the latter only finds artifacts whose bytes are here. `text` is
    searched in names, types and origins (see `domain.text_search`)."""

    ids: tuple[str, ...] = ()
    tool: str = ""
    task: str = ""
    run: str = ""
    principal: str = ""
    file_name: str = ""
    mime_type: str = ""
    sha256: str = ""
    input: str = ""
    state: ArtifactState | None = None
    larger: int | None = None
    expired: float | None = None
    verified: float | None = None
    text: str = ""
    order: ArtifactOrder = ArtifactOrder.NEWEST
    limit: int = 100
    offset: int = 0


class ArtifactStore(Protocol):
    """Complete artifacts. Every method raises StorageUnavailable when the database cannot be reached."""

    async def add(self, artifact: Artifact) -> None:
        """Raises InvalidRequest when its tool does not exist, Conflict when its id does."""

    async def get(self, artifact_id: str) -> Artifact | None: ...

    async def page(self, query: ArtifactQuery) -> tuple[Artifact, ...]: ...

    async def delete(self, ids: Collection[str]) -> int:
        """How many there were."""

    async def mark(self, artifact_id: str, state: ArtifactState, at: float) -> bool:
        """What a look at the bytes found; False when the artifact is gone."""

    async def usage(self, principal: str | None = None) -> Usage:
        """Of one principal, or of all."""

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        """Of these, the artifacts with bytes here and the uploads."""


class UploadStore(Protocol):
    """Uploads under way. The same errors."""

    async def begin(self, upload: Upload, quota: Quota) -> None:
        """Raises QuotaExceeded, InvalidRequest when its tool does not exist, Conflict when there is an upload or
        artifact with its id."""

    async def get(self, upload_id: str) -> Upload | None: ...

    async def advance(self, upload_id: str, before: int, offset: int, now: float) -> bool:
        """So many bytes are durable now; False when there were not `before`, or when it is gone."""

    async def finish(self, artifact: Artifact, quota: Quota) -> bool:
        """The upload with its id becomes this artifact, in one step; False when it is gone. Raises QuotaExceeded."""

    async def drop(self, ids: Collection[str]) -> int:
        """How many there were."""

    async def stale(self, single: float, resumable: float, limit: int) -> tuple[Upload, ...]:
        """Those of one request, and resumable ones, that were last touched before these moments."""
