"""A file on its way to the service: in one request, or in pieces that are sent again when the connection breaks."""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import Refused, ServiceUnreachable, WrongUsage

ARTIFACTS = "/api/v1/artifacts"
PIECE = 64 << 20  # bytes of one request
TRIES = 5
BLOCK = 1 << 20


def send_file(connection: Connection, file: Path, name: str, mime_type: str, said: dict[str, Any]) -> dict[str, Any]:
    """The artifact that it became. Raises WrongUsage, ServiceUnreachable and Refused."""
    name = name or file.name
    named = {"file_name": name, "mime_type": mime_type or mimetypes.guess_type(name)[0] or ""}
    body = said | {field: text for field, text in named.items() if text}
    try:
        with file.open("rb") as source:
            size = source.seek(0, 2)
            if size <= PIECE:
                source.seek(0)
                answer = connection.send("POST", ARTIFACTS, source.read(), query=body)
            else:
                answer = _in_pieces(connection, source, size, body)
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    artifact: dict[str, Any] = answer["artifact"]
    return artifact


def _in_pieces(connection: Connection, source: BufferedReader, size: int, body: dict[str, Any]) -> dict[str, Any]:
    source.seek(0)
    digest = hashlib.file_digest(source, "sha256").hexdigest()
    begun = connection.call("POST", f"{ARTIFACTS}/uploads", body | {"size_bytes": size, "sha256": digest})
    path = f"{ARTIFACTS}/uploads/{begun['upload_id']}"
    offset = tries = 0
    while offset < size:
        try:
            answer = connection.send(
                "PATCH", path, _blocks(source, offset, min(PIECE, size - offset)), {"Upload-Offset": str(offset)}
            )
            tries = 0
        except (ServiceUnreachable, Refused) as error:
            tries += 1
            if tries >= TRIES or (isinstance(error, Refused) and error.answered not in (409, 502, 503, 504)):
                raise
            time.sleep(0.5 * 2**tries)
            answer = connection.get(path)
        offset = answer["upload"]["offset"]
    return connection.call("POST", f"{path}/complete")


def _blocks(source: BufferedReader, offset: int, length: int) -> Iterator[bytes]:
    source.seek(offset)
    while length:
        block = source.read(min(BLOCK, length))
        if not block:
            return
        length -= len(block)
        yield block
