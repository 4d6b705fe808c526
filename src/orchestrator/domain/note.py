"""A note: a value that a tool keeps for a principal under a name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import InvalidRequest, TooLarge
from orchestrator.domain.storable import check_storable

MOST_NAME = 200  # characters of a namespace or key
MOST_VALUE = 64 << 10  # bytes as JSON
MOST_NOTES = 4_096  # of one principal


@dataclass(frozen=True, slots=True)
class Note:
    """`value` is any JSON value. Times in seconds since the epoch; None: it stays until it is cleared."""

    principal: str
    namespace: str
    key: str
    value: Any
    stored_at: float
    expires_at: float | None = None


def check_note(note: Note) -> None:
    """Raises InvalidRequest for what a database could not keep, TooLarge for a value over the limit."""
    for name, text in (("namespace", note.namespace), ("key", note.key)):
        if not 1 <= len(text) <= MOST_NAME:
            raise InvalidRequest(f"{name}: 1 to {MOST_NAME} characters", details={"field": name})
    check_storable((note.value, note.stored_at, note.expires_at), note.principal, note.namespace, note.key)
    size = len(json.dumps(note.value).encode())
    if size > MOST_VALUE:
        words = f"value: {size:,} bytes as JSON are over the limit of {MOST_VALUE:,}"
        raise TooLarge(words, details={"limit": MOST_VALUE})
