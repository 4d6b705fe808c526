"""What every store accepts, so that memory, SQLite and PostgreSQL keep and refuse the same values.

PostgreSQL has no NUL character in text and limits the size of an index entry; SQLite turns NaN into NULL; neither has
integers over 64 bits or unpaired surrogates. A value that one of them would refuse is refused before it gets there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from orchestrator.domain.errors import InvalidRequest

KEY_LIMIT = 512  # characters; at 4 bytes each it fits an index entry of PostgreSQL (2,704 bytes) beside a node id
DEPTH_LIMIT = 64
INTEGER_LIMIT = 2**63


def is_text(text: str) -> bool:
    """Whether both databases can hold this text."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_key(text: str) -> bool:
    """Whether a row can be found by this text."""
    return len(text) <= KEY_LIMIT and is_text(text)


def plain_text(text: str, limit: int = KEY_LIMIT) -> str:
    """The text as every database can hold it, cut and with ? in places: for what must be kept whatever it is."""
    cut = text[:limit]
    return cut if is_text(cut) else cut.encode(errors="replace").decode().replace("\0", "?")


def check_storable(value: object, *keys: str) -> None:
    """Raises `InvalidRequest` when a database would refuse or alter `value`, or cannot find it by `keys`."""
    for key in keys:
        if not is_key(key):
            raise InvalidRequest(f"a name is over {KEY_LIMIT} characters or not plain text")
    _check(value, DEPTH_LIMIT)


def _check(value: object, depth: int) -> None:
    if depth == 0:
        raise InvalidRequest(f"nested deeper than {DEPTH_LIMIT} levels")
    match value:
        case None | bool():
            pass
        case str():
            if not is_text(value):
                raise InvalidRequest("text holds a NUL character or an unpaired surrogate")
        case int():
            if not -INTEGER_LIMIT <= value < INTEGER_LIMIT:
                raise InvalidRequest("an integer does not fit 64 bits")
        case float():
            if not math.isfinite(value):
                raise InvalidRequest("a number is not finite")
        case Mapping():
            _check_mapping(value, depth)
        case Sequence() | frozenset() if not isinstance(value, bytes | bytearray):
            for item in value:
                _check(item, depth - 1)
        case _ if is_dataclass(value):
            for item in fields(value):
                _check(getattr(value, item.name), depth - 1)
        case _:
            raise InvalidRequest(f"a value of type {type(value).__name__} cannot be stored")


def _check_mapping(value: Mapping[object, object], depth: int) -> None:
    for name, item in value.items():
        if not isinstance(name, str):
            raise InvalidRequest("a name in a document is not text")
        _check(name, depth - 1)
        _check(item, depth - 1)
