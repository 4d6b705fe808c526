"""Uploads in several requests: begin, append where the last one ended, complete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.artifact import Upload
from orchestrator.domain.errors import Forbidden, InvalidRequest, NotFound
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.artifacts.described import FIELDS, content_length, described, pieces
from orchestrator.entrypoints.http.artifacts.view import upload_view, view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import (
    PREFIX,
    answer,
    read_body,
    service_of,
    tasks_router,
)
from orchestrator.entrypoints.http.tasks.envelope import (
    described as documented,
)

router = tasks_router("artifacts")
WRITE = requires(Permission.ARTIFACTS_WRITE)
PATH = f"{PREFIX}/artifacts/uploads"
OFFSET = "Upload-Offset"
_FIELDS = {**FIELDS, "size_bytes": "How many bytes will come, where it is known: other numbers are refused."}
_OFFSET: dict[str, Any] = {
    "parameters": [
        {
            "name": OFFSET,
            "in": "header",
            "required": True,
            "schema": {"type": "integer", "minimum": 0},
            "description": "How many bytes the upload has: these come behind them.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}


@router.post("/artifacts/uploads", status_code=201, openapi_extra=documented(_FIELDS))
async def begin(request: Request, principal: Principal = WRITE) -> Response:
    """Begins an upload. Its bytes come by PATCH; it is forgotten after `artifacts.upload_patience` without any."""
    service = service_of(request)
    body = await read_body(request)
    size = body.get("size_bytes")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise InvalidRequest("size_bytes: an integer of at least 0", details={"field": "size_bytes"})
    upload = await service.uploads.begin(described(body, principal, service.clock.wall(), size=size))
    return _shown(request, upload, 201)


@router.get("/artifacts/uploads/{upload_id}")
async def show(request: Request, upload_id: str, principal: Principal = WRITE) -> Response:
    """How far an upload is. 404 also when it is complete."""
    return _shown(request, await _mine(request, upload_id, principal))


@router.patch("/artifacts/uploads/{upload_id}", openapi_extra=_OFFSET)
async def append(request: Request, upload_id: str, principal: Principal = WRITE) -> Response:
    """More bytes. What came of a request that broke off is kept as far as it was made durable: ask for the offset and
    go on there. 409 with `details.offset` for another offset, and while another request writes; 413; 507."""
    await _mine(request, upload_id, principal)
    text = request.headers.get(OFFSET, "")
    if not text.isdigit() or len(text) > 18:
        raise InvalidRequest(f"{OFFSET}: how many bytes the upload has", details={"field": OFFSET})
    uploads, length = service_of(request).uploads, content_length(request)
    upload = await uploads.append(upload_id.lower(), int(text), pieces(request), length)
    return _shown(request, upload)


@router.post(
    "/artifacts/uploads/{upload_id}/complete",
    status_code=201,
    openapi_extra=documented({"sha256": FIELDS["sha256"]}, required=False),
)
async def complete(request: Request, upload_id: str, principal: Principal = WRITE) -> Response:
    """Makes the upload an artifact; asked a second time it answers with the same. 400 when size or digest are not what
    was announced: the upload then stays. 404, 409, 507."""
    service = service_of(request)
    body = await read_body(request)
    sha256 = body.get("sha256") or ""
    if not isinstance(sha256, str):
        raise InvalidRequest("sha256: 64 hexadecimal digits", details={"field": "sha256"})
    with suppress(NotFound):  # perhaps it is complete: `finish` knows
        await _mine(request, upload_id, principal)
    artifact = await service.uploads.finish(upload_id.lower(), sha256)
    audit(principal, "artifact.upload", artifact.id, file_name=artifact.file_name, size=artifact.size)
    return answer(request, {"artifact_id": artifact.id, "artifact": view(artifact)}, status=201)


@router.delete("/artifacts/uploads/{upload_id}")
async def cancel(request: Request, upload_id: str, principal: Principal = WRITE) -> Response:
    """Forgets an upload and its bytes. 404, 409 while a request writes to it."""
    await _mine(request, upload_id, principal)
    await service_of(request).uploads.cancel(upload_id.lower())
    return answer(request, {"upload_id": upload_id}, message="Upload cancelled")


async def _mine(request: Request, upload_id: str, principal: Principal) -> Upload:
    """Raises NotFound, and Forbidden for another principal's."""
    upload = await service_of(request).uploads.get(upload_id.lower())
    if upload.origin.principal != principal.id and not allowed(principal, Permission.PROMPTS_READ):
        raise Forbidden("This upload is another principal's.")
    return upload


def _shown(request: Request, upload: Upload, status: int = 200) -> Response:
    shown = answer(request, {"upload_id": upload.id, "upload": upload_view(upload)}, status=status)
    shown.headers[OFFSET] = str(upload.offset)
    return shown
