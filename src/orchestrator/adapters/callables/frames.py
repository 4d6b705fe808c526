"""What goes between the service and a process that calls functions: a length of four bytes, then JSON."""

from __future__ import annotations

from typing import Any

import msgspec

LENGTH = 4


class Bounds(msgspec.Struct):
    """What a process sets for itself before its first call."""

    parent: int  # the process that wants its result
    memory: int
    cpu_seconds: int
    open_files: int
    processes: int
    file_size: int


class Order(msgspec.Struct):
    function: str  # module:function
    argument: msgspec.Raw
    bounds: Bounds | None = None  # with them the argument is an object of keyword arguments
    output: int = 64 << 20  # bytes of the result as JSON


class Outcome(msgspec.Struct):
    """`error` is empty where there is a result."""

    result: Any = None
    error: str = ""
    final: bool = False


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH, "big") + content
