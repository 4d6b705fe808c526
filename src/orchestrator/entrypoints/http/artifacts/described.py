"""Reads what is said of an upload: in a query, in a form's fields, in JSON, in headers."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from orchestrator.domain.access import Principal
from orchestrator.domain.artifact import BINARY, Origin
from orchestrator.domain.errors import BodyIncomplete, InvalidRequest
from orchestrator.services.artifacts import Described

FIELDS = {
    "file_name": "Required: 1 to 255 characters. A form's own file name counts where it is not given.",
    "mime_type": "At most 100 characters; the Content-Type of the bytes, or application/octet-stream.",
    "sha256": "64 hexadecimal digits: other bytes are refused. The header Content-Digest is the same.",
    "created_by_tool_id": "UUID of the tool that made it.",
    "task_id": "The task that made it.",
    "run_id": "The pipeline's run.",
    "agent_id": "The agent.",
    "inputs": "Ids of the artifacts that it was made of: a list, or with commas between them.",
    "expires_at": "When it is deleted, in seconds since the epoch.",
    "expires_in": "The same in seconds from now.",
}
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


def described(
    said: Mapping[str, Any], principal: Principal, now: float, *, size: int | None = None, **defaults: str
) -> Described:
    """`defaults` count where nothing is said. Raises InvalidRequest that names the field."""
    unknown = said.keys() - FIELDS.keys() - {"size_bytes"}
    if unknown:
        raise InvalidRequest(f"unknown field {sorted(unknown)[0]!r}", details={"field": sorted(unknown)[0]})
    name, mime_type = _text(said, "file_name") or defaults.get("file_name", ""), _text(said, "mime_type")
    if not name:
        raise InvalidRequest("file_name is required", details={"field": "file_name"})
    origin = Origin(
        (_text(said, "created_by_tool_id") or "").lower() or None,
        _text(said, "task_id"),
        _text(said, "run_id"),
        _text(said, "agent_id"),
        principal.id,
        _inputs(said.get("inputs")),
    )
    until = _number(said, "expires_at")
    lasting = _number(said, "expires_in")
    if until is None and lasting is not None:
        until = now + lasting
    return Described(
        name,
        mime_type or defaults.get("mime_type") or BINARY,
        origin,
        size,
        _text(said, "sha256") or defaults.get("sha256", ""),
        until,
    )


def digest_header(request: Request) -> str:
    """The SHA-256 of Content-Digest or Repr-Digest (RFC 9530) in hexadecimal; empty without."""
    for name in ("content-digest", "repr-digest"):
        found = _DIGEST.search(request.headers.get(name, ""))
        if found is not None:
            try:
                return base64.b64decode(found[1], validate=True).hex()
            except binascii.Error:
                raise InvalidRequest(f"{name}: not base64", details={"field": name}) from None
    return ""


def content_length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdigit() else None


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises BodyIncomplete when the client leaves."""
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except ClientDisconnect:
        raise BodyIncomplete from None


def _text(said: Mapping[str, Any], field: str) -> str:
    value = said.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"{field}: text", details={"field": field})
    return value


def _number(said: Mapping[str, Any], field: str) -> float | None:
    value = said.get(field)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{field}: a number of seconds", details={"field": field}) from None
    if not math.isfinite(number) or not 0 <= number < 1e11:
        raise InvalidRequest(f"{field}: a number of seconds", details={"field": field})
    return number


def _inputs(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest("inputs: ids of artifacts", details={"field": "inputs"})
    return tuple(name.strip().lower() for name in names if name.strip())
