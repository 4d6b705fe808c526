"""What goes between the service and a process that calls functions: a length of four bytes, then JSON."""

from __future__ import annotations

from typing import Any

import msgspec

LENGTH = 4


class Order(msgspec.Struct):
    function: str  # module:function
    argument: msgspec.Raw


class Outcome(msgspec.Struct):
    """`error` is empty where there is a result."""

    result: Any = None
    error: str = ""
    final: bool = False


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH, "big") + content
