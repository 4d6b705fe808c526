"""Artifacts as clients see them: listing, reading, deleting, checking, and where they come from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.artifact import Artifact, ArtifactState, read_digest
from orchestrator.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery, ArtifactStore
from orchestrator.ports.blobs import BlobStore
from orchestrator.services.artifacts.described import Described
from orchestrator.services.artifacts.rules import ArtifactRules

LARGE = 100_000_000  # bytes; more than this is large (registry contract, section 3)
MOST_RELATED = 1_000  # artifacts in a lineage
_log = logging.getLogger("orchestrator.artifacts")


@dataclass(frozen=True, slots=True)
class Lineage:
    """`inputs` and `outputs` are what it was made of and what was made of it, the nearest first; `gone` are ids of
    inputs that no longer exist; `complete` is False where the whole is too large."""

    artifact: Artifact
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    gone: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the bytes found; `sha256` of what is there now, empty where nothing is."""

    artifact: Artifact
    state: ArtifactState
    sha256: str
    at: float


@dataclass(slots=True)
class ArtifactCounters:
    """Since the start of the process."""

    uploaded: int = 0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    damaged: int = 0  # found by a look at the bytes, or missing
    removed: dict[str, int] = field(default_factory=dict)  # by why: deleted, expired, upload, orphan


class Artifacts:
    """The use cases. Every method raises StorageUnavailable."""

    def __init__(
        self,
        store: ArtifactStore,
        blobs: BlobStore,
        wall: Callable[[], float],
        new_id: Callable[[], str],
        rules: ArtifactRules,
    ) -> None:
        """`wall` tells the time in seconds since the epoch, `new_id` a UUID. `rules` may be exchanged meanwhile."""
        self.rules = rules
        self.counters = ArtifactCounters()
        self._store = store
        self._blobs = blobs
        self._wall = wall
        self._new_id = new_id

    async def register(self, told: Described, pointer: str) -> Artifact:
        """An artifact whose bytes are elsewhere; the pointer is kept as it is and never followed. Raises
        InvalidRequest."""
        size = told.size or 0
        artifact = Artifact(self._new_id(), told.file_name, told.mime_type, pointer, size, self._wall(), told.origin)
        await self._store.add(artifact)
        return artifact

    async def get(self, artifact_id: str) -> Artifact:
        """Raises NotFound."""
        artifact = await self._store.get(artifact_id)
        if artifact is None:
            raise NotFound("Artifact not found", details={"code": "ARTIFACT_NOT_FOUND", "artifact_id": artifact_id})
        return artifact

    async def by_digest(self, sha256: str, principal: Principal) -> Artifact:
        """An undamaged artifact with these bytes that the principal may read. Raises NotFound, InvalidRequest."""
        query = ArtifactQuery(sha256=read_digest(sha256), state=ArtifactState.STORED)
        for artifact in await self._store.page(query):
            if may_read(principal, artifact):
                return artifact
        raise NotFound("Artifact not found", details={"code": "ARTIFACT_NOT_FOUND", "sha256": sha256})

    async def page(self, query: ArtifactQuery) -> tuple[Artifact, ...]:
        return await self._store.page(query)

    async def delete(self, artifact_id: str) -> None:
        """With its bytes. Raises NotFound."""
        if not await self.remove([artifact_id], "deleted"):
            await self.get(artifact_id)

    async def remove(self, ids: list[str], why: str) -> int:
        """Rows first: bytes that stay behind are found by the next clean-up."""
        count = await self._store.delete(ids)
        if count:
            await self._blobs.delete(ids)
            self.counters.removed[why] = self.counters.removed.get(why, 0) + count
        return count

    def readable(self, artifact: Artifact, principal: Principal) -> None:
        """Raises Forbidden when the bytes are not for this principal, Conflict when there are none to give."""
        if not may_read(principal, artifact):
            raise Forbidden("This artifact is the result of another principal's task or call.")
        if artifact.state is ArtifactState.EXTERNAL:
            raise Conflict(
                "The bytes of this artifact are not kept here: see storage_pointer.",
                details={"code": "ARTIFACT_EXTERNAL", "storage_pointer": artifact.pointer},
            )
        if artifact.state is not ArtifactState.STORED:
            raise Conflict(f"The bytes of this artifact are {artifact.state}.", details={"code": "ARTIFACT_DAMAGED"})

    async def content(self, artifact: Artifact, start: int, length: int) -> AsyncGenerator[bytes]:
        """The bytes in pieces, at most two of them in memory. Raises NotFound before the first when they are gone."""
        pieces = self._blobs.read(artifact.id, start, length)
        try:
            async for piece in pieces:
                self.counters.downloaded_bytes += len(piece)
                yield piece
        except NotFound:
            await self._store.mark(artifact.id, ArtifactState.MISSING, self._wall())
            raise
        finally:
            await pieces.aclose()

    async def verify(self, artifact: Artifact) -> Verified:
        """Reads the bytes, and writes down whether they are still what came. Raises Conflict for an external one."""
        if not artifact.kept:
            raise Conflict("The bytes of this artifact are not kept here.", details={"code": "ARTIFACT_EXTERNAL"})
        digest, size = hashlib.sha256(), 0
        state, found = ArtifactState.STORED, ""
        try:
            async for piece in self._blobs.read(artifact.id, 0, artifact.size):
                digest.update(piece)
                size += len(piece)
            found = digest.hexdigest()
        except NotFound:
            state = ArtifactState.MISSING
        if found and found != artifact.sha256:
            state = ArtifactState.DAMAGED
        at = self._wall()
        await self._store.mark(artifact.id, state, at)
        if state is not ArtifactState.STORED and artifact.state is ArtifactState.STORED:
            self.counters.damaged += 1
            _log.error("artifact_damaged", extra={"artifact": artifact.id, "state": state.value})
        return Verified(artifact, state, found, at)

    async def lineage(self, artifact_id: str, depth: int = 1) -> Lineage:
        """What it was made of and what was made of it, `depth` steps far. Raises NotFound."""
        artifact = await self.get(artifact_id)
        inputs, gone, whole = await self._upwards(artifact, depth)
        outputs, all_of_them = await self._downwards(artifact, depth)
        return Lineage(artifact, inputs, outputs, gone, whole and all_of_them)

    async def _upwards(self, artifact: Artifact, depth: int) -> tuple[tuple[Artifact, ...], tuple[str, ...], bool]:
        found: dict[str, Artifact] = {}
        gone: list[str] = []
        wanted = list(artifact.origin.inputs)
        for _ in range(depth):
            if not wanted or len(found) + len(wanted) > MOST_RELATED:
                break
            here = await self._store.page(
                ArtifactQuery(ids=tuple(wanted), order=ArtifactOrder.OLDEST, limit=len(wanted))
            )
            gone += sorted(set(wanted) - {one.id for one in here})
            found |= {one.id: one for one in here}
            known = found.keys() | set(gone) | {artifact.id}
            wanted = _new((name for one in here for name in one.origin.inputs), known)
        return tuple(found.values()), tuple(gone), len(found) + len(wanted) <= MOST_RELATED

    async def _downwards(self, artifact: Artifact, depth: int) -> tuple[tuple[Artifact, ...], bool]:
        found: dict[str, Artifact] = {}
        parents = [artifact.id]
        for _ in range(depth):
            children: list[str] = []
            for parent in parents:
                room = MOST_RELATED - len(found)
                query = ArtifactQuery(input=parent, order=ArtifactOrder.OLDEST, limit=room + 1)
                made = [one for one in await self._store.page(query) if one.id not in found and one.id != artifact.id]
                if len(made) > room:
                    return (*found.values(), *made[:room]), False
                found |= {one.id: one for one in made}
                children += [one.id for one in made]
            parents = children
        return tuple(found.values()), True


def may_read(principal: Principal, artifact: Artifact) -> bool:
    """Whether these bytes are for this principal: what comes out of a task, or a call of a tool, is for who made it."""
    origin = artifact.origin
    mine = not (origin.task or origin.call) or origin.principal in ("", principal.id)
    return mine or allowed(principal, Permission.PROMPTS_READ)


def expiry(told: float | None, keep: float | None, now: float) -> float | None:
    """When an artifact is deleted. Raises InvalidRequest for a time that has passed."""
    if told is None:
        return None if keep is None else now + keep
    if told <= now:
        raise InvalidRequest("expires_at: has passed", details={"field": "expires_at"})
    return told


def _new(names: Iterable[str], known: set[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]
