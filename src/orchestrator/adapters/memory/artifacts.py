"""Artifacts and uploads in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from orchestrator.domain.artifact import (
    Artifact,
    ArtifactState,
    Quota,
    Upload,
    Usage,
    advanced,
    check_artifact,
    check_quota,
    check_upload,
    is_artifact_id,
)
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.searched import artifact_text
from orchestrator.domain.text_search import fits, read_search, relevance
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery


class MemoryArtifacts:
    """`ArtifactStore` in a dict."""

    def __init__(self) -> None:
        self.is_tool: Callable[[str], bool] = lambda tool: False  # whether there is a tool with this id
        self.all: dict[str, Artifact] = {}
        self.uploads: dict[str, Upload] = {}

    def forget_tool(self, tool: str) -> None:
        """The tool is deleted: what it has made stays."""
        for one in [one for one in self.all.values() if one.origin.tool == tool]:
            self.all[one.id] = replace(one, origin=replace(one.origin, tool=None))

    def check_tool(self, tool: str | None) -> None:
        if tool is not None and not self.is_tool(tool):
            raise InvalidRequest("created_by_tool_id: there is no such tool", details={"field": "created_by_tool_id"})

    async def add(self, artifact: Artifact) -> None:
        check_artifact(artifact)
        self.check_tool(artifact.origin.tool)
        self.insert(artifact)

    def insert(self, artifact: Artifact) -> None:
        if artifact.id in self.all:
            raise Conflict("a row with the same unique value exists")
        self.all[artifact.id] = artifact

    async def get(self, artifact_id: str) -> Artifact | None:
        return self.all.get(artifact_id)

    async def page(self, query: ArtifactQuery) -> tuple[Artifact, ...]:
        if not all(is_artifact_id(one) for one in (query.tool, query.input) if one):
            return ()
        found = _ordered([one for one in self.all.values() if _fits(one, query)], query)
        return tuple(found[query.offset : query.offset + query.limit])

    async def delete(self, ids: Collection[str]) -> int:
        return sum(self.all.pop(one, None) is not None for one in set(ids))

    async def mark(self, artifact_id: str, state: ArtifactState, at: float) -> bool:
        known = self.all.get(artifact_id)
        if known is None or not known.kept:
            return False
        self.all[artifact_id] = replace(known, state=state, verified_at=at)
        return True

    async def usage(self, principal: str | None = None) -> Usage:
        sizes = [one.size for one in self.all.values() if one.kept and principal in (None, one.origin.principal)]
        return Usage(len(sizes), sum(sizes))

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        here = {one for one in ids if one in self.all and self.all[one].kept}
        return frozenset(here | (self.uploads.keys() & set(ids)))


class MemoryUploads:
    """`UploadStore` beside them."""

    def __init__(self, artifacts: MemoryArtifacts) -> None:
        self._artifacts = artifacts
        self._uploads = artifacts.uploads

    async def begin(self, upload: Upload, quota: Quota) -> None:
        check_upload(upload)
        self._artifacts.check_tool(upload.origin.tool)
        if upload.id in self._uploads or upload.id in self._artifacts.all:
            raise Conflict("there is an artifact with this id")
        self._check_quota(quota, upload.origin.principal, upload.reserved)
        self._uploads[upload.id] = upload

    async def get(self, upload_id: str) -> Upload | None:
        return self._uploads.get(upload_id)

    async def advance(self, upload_id: str, before: int, offset: int, now: float) -> bool:
        known = self._uploads.get(upload_id)
        if known is None or known.offset != before:
            return False
        self._uploads[upload_id] = advanced(known, offset, now)
        return True

    async def finish(self, artifact: Artifact, quota: Quota) -> bool:
        check_artifact(artifact)
        upload = self._uploads.pop(artifact.id, None)
        if upload is None:
            return False
        try:
            if artifact.size > upload.reserved:
                self._check_quota(quota, artifact.origin.principal, artifact.size)
            tool = artifact.origin.tool
            if tool is not None and not self._artifacts.is_tool(tool):
                artifact = replace(artifact, origin=replace(artifact.origin, tool=None))
            self._artifacts.insert(artifact)
        except BaseException:
            self._uploads[upload.id] = upload
            raise
        return True

    async def drop(self, ids: Collection[str]) -> int:
        return sum(self._uploads.pop(one, None) is not None for one in set(ids))

    async def stale(self, single: float, resumable: float, limit: int) -> tuple[Upload, ...]:
        old = [one for one in self._uploads.values() if one.touched_at < (resumable if one.resumable else single)]
        return tuple(sorted(old, key=lambda one: (one.touched_at, one.id))[:limit])

    def _check_quota(self, quota: Quota, principal: str, size: int) -> None:
        for limit, whose in ((quota.principal, principal), (quota.whole, None)):
            if limit is not None:
                kept = (one.size for one in self._artifacts.all.values() if _whose(one, whose) and one.kept)
                coming = (one.reserved for one in self._uploads.values() if _whose(one, whose))
                check_quota(limit, sum(kept) + sum(coming), size, whole=whose is None)


def _whose(one: Artifact | Upload, principal: str | None) -> bool:
    return principal in (None, one.origin.principal)


def _fits(one: Artifact, query: ArtifactQuery) -> bool:
    origin = one.origin
    pairs = (
        (query.tool, origin.tool),
        (query.task, origin.task),
        (query.run, origin.run),
        (query.principal, origin.principal),
        (query.file_name, one.file_name),
        (query.mime_type, one.mime_type),
        (query.sha256, one.sha256),
    )
    return (
        all(not wanted or wanted == found for wanted, found in pairs)
        and (not query.ids or one.id in query.ids)
        and (not query.input or query.input in origin.inputs)
        and query.state in (None, one.state)
        and (query.larger is None or one.size > query.larger)
        and (query.expired is None or (one.expires_at is not None and one.expires_at < query.expired))
        and (query.verified is None or (one.verified_at is not None and one.verified_at < query.verified))
        and ((search := read_search(query.text)) is None or fits(search, artifact_text(one)))
    )


def _ordered(found: list[Artifact], query: ArtifactQuery) -> list[Artifact]:
    match query.order:
        case ArtifactOrder.RELEVANCE:
            search = read_search(query.text)
            newest = found[::-1]
            return sorted(newest, key=lambda one: relevance(search, artifact_text(one).title)) if search else newest
        case ArtifactOrder.LARGEST:
            return sorted(found, key=lambda one: (one.size, one.id), reverse=True)
        case ArtifactOrder.EXPIRING:
            return sorted(
                (one for one in found if one.expires_at is not None), key=lambda one: (one.expires_at or 0.0, one.id)
            )
        case ArtifactOrder.UNVERIFIED:
            return sorted((one for one in found if one.sha256), key=lambda one: (one.verified_at or 0.0, one.id))
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=query.order is ArtifactOrder.NEWEST)
