"""A client that costs little: files leave by sendfile, answers are read into one buffer and forgotten."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BUFFER = 1 << 20  # bytes read at once
LONGEST_HEAD = 64 << 10  # bytes
PATIENCE = 300.0  # seconds without a byte


class WireError(Exception):
    """An answer is not what was asked for; the message says what it is."""


@dataclass(frozen=True)
class Head:
    """The head of an answer, and how many bytes of its body came along."""

    status: int
    length: int
    begun: int


class Connection:
    """One kept HTTP/1.1 connection. Raises WireError and OSError."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        """`headers` go with every request."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = {"Host": f"127.0.0.1:{port}", **headers}
        self._buffer = memoryview(bytearray(BUFFER))

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer."""
        self._ask(method, path, len(body), headers)
        self._socket.sendall(body)
        return self._answer(f"{method} {path}")

    def send(
        self,
        method: str,
        path: str,
        file: Path,
        *,
        headers: Mapping[str, str] | None = None,
        around: tuple[bytes, bytes] = (b"", b""),
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """A file, or `span` of it (offset and number of bytes), with something before and after it. The body of the
        answer."""
        offset, count = span or (0, file.stat().st_size)
        self._ask(method, path, len(around[0]) + count + len(around[1]), headers)
        with file.open("rb") as source:
            self._socket.sendall(around[0])
            sent = self._socket.sendfile(source, offset, count)
            self._socket.sendall(around[1])
        if sent != count:
            raise WireError(f"{method} {path}: {sent} of {count} bytes were sent")
        return self._answer(f"{method} {path}")

    def fetch(self, path: str, expected: int, span: tuple[int, int] | None = None) -> None:
        """The body, or `span` of it (offset and number of bytes), read and forgotten. `expected` bytes have to come."""
        for _ in self._pieces(path, expected, span):
            pass

    def digest(self, path: str, expected: int, span: tuple[int, int] | None = None) -> str:
        """The SHA-256 of what `fetch` forgets."""
        found = hashlib.sha256()
        for count in self._pieces(path, expected, span):
            found.update(self._buffer[:count])
        return found.hexdigest()

    def _ask(self, method: str, path: str, length: int, headers: Mapping[str, str] | None) -> None:
        sent = {**self._headers, **(headers or {})}
        if method != "GET":
            sent["Content-Length"] = str(length)
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())

    def _answer(self, asked: str) -> bytes:
        head = self._head()
        body = bytearray(self._buffer[: head.begun])
        while len(body) < head.length:
            body += self._buffer[: self._more(head.length - len(body))]
        if not 200 <= head.status < 300:
            raise WireError(f"{asked}: {head.status} {bytes(body[:300])!r}")
        return bytes(body)

    def _pieces(self, path: str, expected: int, span: tuple[int, int] | None) -> Iterator[int]:
        """How many bytes the buffer has, again and again."""
        wanted = {"Range": f"bytes={span[0]}-{span[0] + span[1] - 1}"} if span else None
        self._ask("GET", path, 0, wanted)
        head = self._head()
        if head.status != (206 if span else 200) or head.length != expected:
            raise WireError(f"GET {path}: {head.status} with {head.length} bytes instead of {expected}")
        left = expected - head.begun
        yield head.begun
        while left:
            got = self._more(left)
            left -= got
            yield got

    def _head(self) -> Head:
        """Reads it; the bytes of the body that came along are moved to the buffer's beginning."""
        got = 0
        while (end := bytes(self._buffer[:got]).find(b"\r\n\r\n")) < 0:
            if got > LONGEST_HEAD:
                raise WireError("the answer has no end of its head")
            got += self._receive(self._buffer[got:])
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        length = 0 if status == 204 else int(fields.get("content-length", "-1"))
        begun = got - end - 4
        if not begun <= length:
            raise WireError(f"an answer {status} without its length, or with more than that")
        self._buffer[:begun] = bytes(self._buffer[end + 4 : got])
        return Head(status, length, begun)

    def _more(self, missing: int) -> int:
        return self._receive(self._buffer[: min(missing, BUFFER)])

    def _receive(self, room: memoryview) -> int:
        got = self._socket.recv_into(room)
        if not got:
            raise WireError("the connection was closed within an answer")
        return got
