"""What a client says of the bytes that it sends."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.artifact import BINARY, Origin

UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Described:
    """`size` (bytes) and `sha256` (hexadecimal) are checked when the bytes are there; None and empty: not said.
    `expires_at` None: as `artifacts.keep` says."""

    file_name: str
    mime_type: str = BINARY
    origin: Origin = UNKNOWN
    size: int | None = None
    sha256: str = ""
    expires_at: float | None = None
