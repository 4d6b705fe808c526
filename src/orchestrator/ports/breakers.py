"""The durable states of breakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from orchestrator.domain.breaker_record import BreakerRecord


class BreakerStore(Protocol):
    """Breakers by key: `node`, or `node:model`."""

    async def load(self) -> Mapping[str, BreakerRecord]:
        """All records by key."""

    async def save(self, records: Iterable[BreakerRecord]) -> None:
        """Adds or replaces the records in one transaction: all or none. The last one of a key counts."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Forgets these keys in one transaction; unknown ones are ignored."""
