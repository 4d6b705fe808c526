"""An artifact: something that work leaves behind, as bytes that are kept here or as a pointer to elsewhere.

Times are seconds since the epoch. An `Upload` is an artifact whose bytes are still coming: nobody else sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.domain.errors import InvalidRequest, QuotaExceeded
from orchestrator.domain.storable import KEY_LIMIT, check_storable, is_text

MAX_NAME, MAX_TYPE, MAX_POINTER = 255, 100, 4_000  # characters
MAX_INPUTS = 1_000
BINARY = "application/octet-stream"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;[\x20-\x7e]*)?\Z")


class ArtifactState(StrEnum):
    EXTERNAL = "external"  # the bytes are elsewhere: nobody has looked at them
    STORED = "stored"
    DAMAGED = "damaged"  # the bytes are no longer those that came
    MISSING = "missing"  # the bytes are gone


@dataclass(frozen=True, slots=True)
class Origin:
    """Who or what made it, and of what: ids, empty where unknown. `inputs` are artifacts; `call` is the call of a
    tool."""

    tool: str | None = None
    task: str = ""
    run: str = ""
    agent: str = ""
    principal: str = ""
    inputs: tuple[str, ...] = ()
    call: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """`pointer` is a URL or path; the bytes of an EXTERNAL one are never fetched, of the others it is the path below
    this service. `sha256` is hexadecimal, empty where the bytes are elsewhere. After `expires_at` it is deleted.
    `verified_at`: when the bytes were last compared with the digest."""

    id: str
    file_name: str
    mime_type: str
    pointer: str
    size: int
    created_at: float
    origin: Origin = Origin()
    state: ArtifactState = ArtifactState.EXTERNAL
    sha256: str = ""
    expires_at: float | None = None
    verified_at: float | None = None

    @property
    def kept(self) -> bool:
        """Whether its bytes are (or should be) here."""
        return self.state is not ArtifactState.EXTERNAL


@dataclass(frozen=True, slots=True)
class Upload:
    """`size` and `sha256` are what the client said in advance, None and empty where it did not. `offset` bytes are
    durable. `resumable`: more of it may come in another request. `touched_at`: when something last came."""

    id: str
    file_name: str
    mime_type: str
    created_at: float
    touched_at: float
    origin: Origin = Origin()
    size: int | None = None
    sha256: str = ""
    expires_at: float | None = None
    offset: int = 0
    resumable: bool = False

    @property
    def reserved(self) -> int:
        """Bytes that count against quotas already."""
        return max(self.size or 0, self.offset)


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that may be kept here at most, uploads under way included; None: no limit."""

    principal: int | None = None
    whole: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Artifacts whose bytes are kept here, and these bytes."""

    count: int = 0
    size: int = 0


def content_path(artifact_id: str) -> str:
    """Where the bytes are had from this service."""
    return f"/api/v1/artifacts/{artifact_id}/content"


def stored(upload: Upload, size: int, sha256: str, now: float) -> Artifact:
    """The artifact that an upload has become."""
    return Artifact(
        upload.id,
        upload.file_name,
        upload.mime_type,
        content_path(upload.id),
        size,
        now,
        upload.origin,
        ArtifactState.STORED,
        sha256,
        upload.expires_at,
        verified_at=now,
    )


def advanced(upload: Upload, offset: int, now: float) -> Upload:
    return replace(upload, offset=offset, touched_at=now)


def is_artifact_id(text: str) -> bool:
    """Whether this is a UUID as it is written here: lower case, with dashes."""
    return _ID.match(text) is not None


def read_digest(text: str) -> str:
    """A SHA-256 in hexadecimal, with or without `sha256:` before it. Raises InvalidRequest."""
    digest = text.strip().lower().removeprefix("sha256:")
    if not _DIGEST.match(digest):
        raise InvalidRequest("sha256: 64 hexadecimal digits", details={"field": "sha256"})
    return digest


def check_named(file_name: str, mime_type: str, origin: Origin) -> None:
    """Raises `InvalidRequest` that names the field."""
    if not 1 <= len(file_name) <= MAX_NAME or not is_text(file_name) or any(ord(char) < 32 for char in file_name):
        raise _wrong("file_name", f"1 to {MAX_NAME} characters, no control characters")
    if len(mime_type) > MAX_TYPE or not _TYPE.match(mime_type):
        raise _wrong("mime_type", f"type/subtype, at most {MAX_TYPE} characters")
    if origin.tool is not None and not is_artifact_id(origin.tool):
        raise _wrong("created_by_tool_id", "a UUID")
    for field, text in (
        ("task_id", origin.task),
        ("run_id", origin.run),
        ("agent_id", origin.agent),
        ("call_id", origin.call),
    ):
        if len(text) > KEY_LIMIT or not is_text(text):
            raise _wrong(field, f"plain text of at most {KEY_LIMIT} characters")
    if len(origin.inputs) > MAX_INPUTS or not all(map(is_artifact_id, origin.inputs)):
        raise _wrong("inputs", f"at most {MAX_INPUTS} ids of artifacts")
    if len(set(origin.inputs)) != len(origin.inputs):
        raise _wrong("inputs", "an id occurs twice")


def check_artifact(artifact: Artifact) -> None:
    """Raises `InvalidRequest` when a database would refuse or alter it."""
    check_named(artifact.file_name, artifact.mime_type, artifact.origin)
    if not 1 <= len(artifact.pointer) <= MAX_POINTER or not is_text(artifact.pointer):
        raise _wrong("storage_pointer", f"a URL or path of at most {MAX_POINTER:,} characters")
    if artifact.size < 0:
        raise _wrong("size_bytes", "at least 0")
    check_storable((artifact.size, artifact.created_at, artifact.expires_at, artifact.verified_at, artifact.sha256))
    check_storable(None, artifact.id, artifact.origin.principal)


def check_upload(upload: Upload) -> None:
    """The same for an upload."""
    check_named(upload.file_name, upload.mime_type, upload.origin)
    if upload.size is not None and upload.size < 0:
        raise _wrong("size_bytes", "at least 0")
    check_storable((upload.size, upload.offset, upload.created_at, upload.touched_at, upload.expires_at, upload.sha256))
    check_storable(None, upload.id, upload.origin.principal)


def _wrong(field: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {text}", details={"field": field})


def check_quota(limit: int, used: int, size: int, *, whole: bool) -> None:
    """Raises QuotaExceeded when so many bytes more would be over the limit."""
    if used + size > limit:
        whose = "all artifacts together" if whole else "one principal's artifacts"
        raise QuotaExceeded(
            f"{size:,} bytes more are over the quota of {limit:,} bytes for {whose}: {used:,} are used.",
            details={"quota_bytes": limit, "used_bytes": used, "wanted_bytes": size},
        )
