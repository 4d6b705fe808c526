"""The durable record of settings changed while the service runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

HISTORY_KEPT = 1000  # versions


@dataclass(frozen=True, slots=True)
class OverrideEntry:
    """One version of the document. `when` is in seconds since the epoch."""

    version: int
    document: Mapping[str, Any]
    who: str
    when: float


class OverrideStore(Protocol):
    """One JSON document: the settings that differ from file and environment, as dotted paths or as a tree."""

    async def get(self) -> dict[str, Any]:
        """The newest document; empty when nothing was ever changed."""

    async def put(self, document: Mapping[str, Any], who: str, when: float) -> int:
        """Replaces the document and returns its version, which is higher than any before.

        `InvalidRequest` when it is no JSON document. The last `HISTORY_KEPT` versions are kept.
        """

    async def history(self, limit: int = 50) -> tuple[OverrideEntry, ...]:
        """The newest `limit` versions, newest first."""
