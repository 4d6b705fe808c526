"""Which bytes of a representation a request wants (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.domain.errors import RangeNotSatisfiable

_RANGE = re.compile(r"(\d*)-(\d*)\Z")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From `start`, `length` bytes; `whole` when nothing less was asked for."""

    start: int
    length: int
    whole: bool = True

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def wanted(range_header: str, if_range: str, etag: str, size: int) -> ByteRange:
    """Several ranges at once, other units, and what is malformed, count as nothing asked for; so does a range with an
    `If-Range` that is not exactly the entity tag (we give out no dates). Raises RangeNotSatisfiable."""
    whole = ByteRange(0, size)
    unit, equals, ranges = range_header.partition("=")
    found = _RANGE.match(ranges.strip())
    if unit.strip().lower() != "bytes" or not equals or found is None or (if_range and if_range.strip() != etag):
        return whole
    first, last = found.groups()
    if not first and not last:
        return whole
    if len(first) > 19 or len(last) > 19:
        raise _unsatisfiable(size)
    if not first:
        length = min(int(last), size)
        if not length:
            raise _unsatisfiable(size)
        return ByteRange(size - length, length, False)
    start = int(first)
    end = int(last) if last else size - 1
    if last and end < start:
        return whole
    if start >= size:
        raise _unsatisfiable(size)
    return ByteRange(start, min(end, size - 1) - start + 1, False)


def unchanged(if_none_match: str, etag: str) -> bool:
    """Whether the client has these bytes already."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags


def _unsatisfiable(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(f"There are {size:,} bytes.", details={"size_bytes": size})
