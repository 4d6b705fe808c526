"""Frames of a stream: server-sent events and newline-delimited JSON, split incrementally and bounded."""

from __future__ import annotations

from orchestrator.domain.errors import MalformedAnswer

MAX_LINE = 16 * 1024 * 1024  # bytes


class Lines:
    """Complete lines out of any split of the bytes. A line over MAX_LINE raises `MalformedAnswer`."""

    __slots__ = ("_held", "_rest")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their line ends."""
        lines = data.split(b"\n")
        tail = lines.pop()
        if lines and self._held:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest.clear()
            self._held = 0
        if tail:
            # Pieces are joined once, when the line ends: joining per piece is quadratic in the line's length.
            self._rest.append(tail)
            self._held += len(tail)
        if self._held > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            raise MalformedAnswer(f"the node sent a line of more than {MAX_LINE} bytes")
        return lines

    def rest(self) -> bytes:
        """What came after the last line end."""
        rest = b"".join(self._rest)
        self._rest.clear()
        self._held = 0
        return rest


class NdjsonFrames:
    """Payloads of a stream with one JSON value per line."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines = Lines()

    def feed(self, data: bytes) -> list[bytes]:
        return [line for line in self._lines.feed(data) if line and not line.isspace()]

    def finish(self) -> list[bytes]:
        rest = self._lines.rest().strip()
        return [rest] if rest else []


class SseFrames:
    """`data` payloads of server-sent events (WHATWG HTML, section 9.2); event names, ids and comments are dropped.

    A lone carriage return as line end, which that text allows and no model server sends, is not one here.
    """

    __slots__ = ("_data", "_lines", "_size")

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        payloads: list[bytes] = []
        for line in self._lines.feed(data):
            self._take(line, payloads)
        return payloads

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if not line:
            if self._data:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
                self._size = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(value)
            self._size += len(value)
            if self._size > MAX_LINE:
                raise MalformedAnswer(f"the node sent an event of more than {MAX_LINE} bytes")

    def finish(self) -> list[bytes]:
        """An event whose closing blank line never came still counts: servers forget it after the last one."""
        payloads: list[bytes] = []
        self._take(self._lines.rest(), payloads)
        self._take(b"", payloads)
        return payloads
