"""Finds where the body of an HTTP/1.1 answer ends, and gives its bytes as content and as whole chunks."""

from __future__ import annotations

from orchestrator.domain.errors import MalformedAnswer

_MAX_SIZE_LINE = 256
_HEX = frozenset(b"0123456789abcdefABCDEF")


class ChunkedBody:
    """Follows RFC 9112 section 7.1 over any split of the bytes.

    `feed` returns (raw, body, rest): `raw` are whole chunks that carry `body`, the last empty chunk left out; `rest` is
    None until the last chunk and its trailers have passed, then the bytes behind the answer.
    """

    __slots__ = ("_left", "_line", "_state")

    _SIZE = 0
    _DATA = 1
    _DATA_END = 2
    _TRAILER = 3

    def __init__(self) -> None:
        self._state = self._SIZE
        self._left = 0  # bytes of the open chunk still to come
        self._line = b""  # an unfinished size or trailer line

    def feed(self, data: bytes) -> tuple[bytes, bytes, bytes | None]:
        """Raises MalformedAnswer when the bytes are not chunked framing."""
        if self._state == self._SIZE and not self._line:
            # Nearly always one read is one chunk: relay it as it came.
            end = data.find(b"\r\n", 0, 18)
            if end > 0:
                size = _size(data[:end])
                if size and len(data) == end + size + 4 and data.endswith(b"\r\n"):
                    return data, data[end + 2 : -2], None
        return self._walk(data)

    def _walk(self, data: bytes) -> tuple[bytes, bytes, bytes | None]:
        pieces: list[bytes] = []
        position, length = 0, len(data)
        rest: bytes | None = None
        while position < length:
            if self._state == self._DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = self._DATA_END
                continue
            newline = data.find(b"\n", position)
            if newline < 0:
                self._line += data[position:]
                if len(self._line) > _MAX_SIZE_LINE:
                    raise MalformedAnswer("A chunk's size line is too long.")
                break
            line = self._line + data[position : newline + 1]
            self._line = b""
            position = newline + 1
            if not line.endswith(b"\r\n"):
                raise MalformedAnswer("A line of the chunked framing does not end with CRLF.")
            if self._end_of_line(line[:-2]):
                rest = data[position:]
                break
        body = b"".join(pieces)
        return (b"%x\r\n%b\r\n" % (len(body), body) if body else b""), body, rest

    def _end_of_line(self, line: bytes) -> bool:
        """Takes one whole line; True when the answer ends with it."""
        if self._state == self._DATA_END:
            if line:
                raise MalformedAnswer("A chunk is longer than its size says.")
            self._state = self._SIZE
        elif self._state == self._SIZE:
            self._left = _size(line.partition(b";")[0].rstrip(b" \t"))
            self._state = self._DATA if self._left else self._TRAILER
        else:
            return not line
        return False


def _size(digits: bytes) -> int:
    # int() alone would take signs, underscores and blanks.
    if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
        digits = digits.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
            raise MalformedAnswer("A chunk's size is not a hexadecimal number.")
    return int(digits, 16)
