"""One HTTP request, whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its body read; header names are lower case, the last of a repeated header wins."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    http10: bool = False
    keep_alive: bool = True
