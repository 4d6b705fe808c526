"""Breakers in SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import breakers
from orchestrator.domain.breaker_record import BreakerRecord, split_key
from orchestrator.domain.storable import check_storable, is_key


class SqlBreakers:
    """`BreakerStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, BreakerRecord]:
        records = [BreakerRecord(**row._mapping) for row in await self._database.rows(sa.select(breakers))]
        return {record.key: record for record in sorted(records, key=lambda record: record.key)}

    async def save(self, records: Iterable[BreakerRecord]) -> None:
        rows = []
        for record in records:
            check_storable(record, record.node, record.model)
            rows.append(asdict(record))
        if rows:
            await self._database.run(self._database.replace(breakers), rows)

    async def delete(self, keys: Iterable[str]) -> None:
        pairs = [split_key(key) for key in keys]
        rows = [{"of_node": node, "of_model": model} for node, model in pairs if is_key(node) and is_key(model)]
        if rows:
            match = breakers.c.node == sa.bindparam("of_node"), breakers.c.model == sa.bindparam("of_model")
            await self._database.run(sa.delete(breakers).where(*match), rows)
