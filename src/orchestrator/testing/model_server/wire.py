"""HTTP/1.1 bytes: the head of an answer, chunks, and where to split UTF-8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus

SERVER = "orchestrator-model-server"
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


def head(
    status: int,
    content_type: str,
    *,
    length: int | None,
    chunked: bool = True,
    close: bool = False,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The status line and headers. `length=None` means chunked, or until the end of the connection if not `chunked`."""
    lines = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nserver: {SERVER}\r\ncontent-type: {content_type}\r\n"
    )
    if length is not None:
        lines += f"content-length: {length}\r\n"
    elif chunked:
        lines += "transfer-encoding: chunked\r\n"
    if close:
        lines += "connection: close\r\n"
    for name, value in (headers or {}).items():
        lines += f"{name}: {value}\r\n"
    return f"{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; never the empty chunk, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def inside_characters(data: bytes) -> Iterator[bytes]:
    """`data` in pieces, each cut in the middle of a multi-byte UTF-8 character (whole if there is none)."""
    start = 0
    for index in range(1, len(data)):
        continuation = 0x80 <= data[index] < 0xC0
        if continuation and data[index - 1] >= 0xC0:
            yield data[start:index]
            start = index
    yield data[start:]
