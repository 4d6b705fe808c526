"""The bytes of artifacts: in, out, and whether they are still what came."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.artifact import Artifact
from orchestrator.domain.byte_range import ByteRange, unchanged, wanted
from orchestrator.domain.errors import RangeNotSatisfiable
from orchestrator.entrypoints.http import failure
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.artifacts.byte_answer import ByteAnswer
from orchestrator.entrypoints.http.artifacts.described import (
    FIELDS,
    content_length,
    described,
    digest_header,
    pieces,
)
from orchestrator.entrypoints.http.artifacts.form import FileForm
from orchestrator.entrypoints.http.artifacts.view import view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import PREFIX, answer, service_of, tasks_router
from orchestrator.services.artifacts import Described

router = tasks_router("artifacts")
READ, WRITE = requires(Permission.ARTIFACTS_READ), requires(Permission.ARTIFACTS_WRITE)
PATH = f"{PREFIX}/artifacts"
FORM = "multipart/form-data"
_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        **{name: {"type": "string", "description": text} for name, text in FIELDS.items()},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            },
        },
    },
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in FIELDS.items()
    ],
}


@router.post("/artifacts", status_code=201, openapi_extra=_BYTES)
async def upload(request: Request, principal: Principal = WRITE) -> Response:
    """Keeps the bytes of the body, or of the file in a form, and answers when they are durable. What is said of them
    comes in the query, or in a form's fields before the file. 400 for bytes that are not what was announced, 413 for
    too many, 507 when a quota is used up. After an error nothing of them is left."""
    service = service_of(request)
    body = pieces(request)
    said = dict(request.query_params)
    if request.headers.get("content-type", "").lower().startswith(FORM):
        told, body = await _form(request, principal, said, body)
    else:
        length = None if "content-encoding" in request.headers else content_length(request)
        mime_type = request.headers.get("content-type", "")
        told = described(
            said, principal, service.clock.wall(), size=length, mime_type=mime_type, sha256=digest_header(request)
        )
    artifact = await service.uploads.store(told, body)
    audit(principal, "artifact.upload", artifact.id, file_name=artifact.file_name, size=artifact.size)
    return answer(request, {"artifact_id": artifact.id, "artifact": view(artifact)}, status=201)


async def _form(
    request: Request, principal: Principal, said: dict[str, str], body: AsyncIterator[bytes]
) -> tuple[Described, AsyncIterator[bytes]]:
    form = FileForm(request.headers["content-type"], body)
    said |= await form.fields()
    now = service_of(request).clock.wall()
    told = described(said, principal, now, file_name=form.file_name, mime_type=form.mime_type)
    return told, form.file()


@router.get("/artifacts/{artifact_id}/content")
@router.head("/artifacts/{artifact_id}/content", include_in_schema=False)
async def content(request: Request, artifact_id: str, principal: Principal = READ) -> Response:
    """The bytes, or with Range some of them (206, one range). ETag is the SHA-256. 403 for the result of another
    principal's task, 404, 409 for an artifact whose bytes are elsewhere or damaged, 416."""
    return await _answer(request, await service_of(request).artifacts.get(artifact_id.lower()), principal)


@router.get("/artifacts/sha256/{digest}")
@router.head("/artifacts/sha256/{digest}", include_in_schema=False)
async def by_digest(request: Request, digest: str, principal: Principal = READ) -> Response:
    """The same for the bytes that have this SHA-256."""
    return await _answer(request, await service_of(request).artifacts.by_digest(digest, principal), principal)


@router.post("/artifacts/{artifact_id}/verify")
async def verify(request: Request, artifact_id: str, principal: Principal = WRITE) -> Response:
    """Reads all bytes and compares them with the digest. `state` is stored, damaged or missing; what is not stored is
    not given out. 404, 409 for an artifact whose bytes are elsewhere."""
    artifacts = service_of(request).artifacts
    found = await artifacts.verify(await artifacts.get(artifact_id.lower()))
    audit(principal, "artifact.verify", artifact_id, state=found.state.value)
    named = {
        "artifact_id": found.artifact.id,
        "state": found.state.value,
        "sha256": found.artifact.sha256,
        "found_sha256": found.sha256 or None,
        "verified_at": found.at,
    }
    return answer(request, named)


@router.post("/artifacts/sweep")
async def sweep(
    request: Request, verify_all: Annotated[bool, Query()] = False, principal: Principal = WRITE
) -> Response:
    """Removes what is expired, uploads that were given up and bytes without an artifact, now; with `verify_all` every
    artifact's bytes are read, and `damaged` names those that are not what came."""
    swept = await service_of(request).sweeper.sweep(verify_all=verify_all)
    audit(principal, "artifact.sweep", verify_all=verify_all)
    named = {
        "expired": swept.expired,
        "uploads": swept.uploads,
        "orphans": swept.orphans,
        "verified": swept.verified,
        "damaged": swept.damaged,
    }
    return answer(request, named)


async def _answer(request: Request, artifact: Artifact, principal: Principal) -> Response:
    artifacts = service_of(request).artifacts
    artifacts.readable(artifact, principal)
    etag = f'"{artifact.sha256}"'
    headers = _headers(artifact, etag)
    if unchanged(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    try:
        part = _part(request, etag, artifact.size)
    except RangeNotSatisfiable as error:
        refused = failure.answer(request, error)
        refused.headers["Content-Range"] = f"bytes */{artifact.size}"
        return refused
    headers["Content-Length"] = str(part.length)
    if not part.whole:
        headers["Content-Range"] = part.content_range(artifact.size)
    status = 200 if part.whole else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    stream = artifacts.content(artifact, part.start, part.length)
    first = await anext(stream, b"")  # raises while the status can still say so
    return ByteAnswer(status, headers, first, stream)


def _part(request: Request, etag: str, size: int) -> ByteRange:
    return wanted(request.headers.get("range", ""), request.headers.get("if-range", ""), etag, size)


def _headers(artifact: Artifact, etag: str) -> dict[str, str]:
    """Never shown in a browser as a page of ours: whatever the type, it is a download."""
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    return {
        "Content-Type": artifact.mime_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(artifact.file_name, safe='')}",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
    }
