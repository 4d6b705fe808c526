"""Breakers in memory."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.storable import check_storable


class MemoryBreakers:
    """`BreakerStore` in a dict."""

    def __init__(self) -> None:
        self._records: dict[str, BreakerRecord] = {}

    async def load(self) -> dict[str, BreakerRecord]:
        return {key: self._records[key] for key in sorted(self._records)}

    async def save(self, records: Iterable[BreakerRecord]) -> None:
        batch = list(records)
        for record in batch:
            check_storable(record, record.node, record.model)
        self._records.update((record.key, record) for record in batch)

    async def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._records.pop(key, None)
