"""Settings changed at run time, in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import overrides
from orchestrator.domain.storable import check_storable
from orchestrator.ports.overrides import HISTORY_KEPT, OverrideEntry

NEWEST_FIRST = sa.select(overrides).order_by(overrides.c.version.desc())


class SqlOverrides:
    """`OverrideStore` on one table of versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> dict[str, Any]:
        rows = await self._database.rows(NEWEST_FIRST.limit(1))
        return dict(rows[0].document) if rows else {}

    async def put(self, document: Mapping[str, Any], who: str, when: float) -> int:
        check_storable(document)
        check_storable((who, when))
        row = {"document": dict(document), "who": who, "changed_at": when}
        async with self._database.write() as connection:
            inserted = await connection.execute(sa.insert(overrides).returning(overrides.c.version), row)
            version: int = inserted.scalar_one()
            await connection.execute(sa.delete(overrides).where(overrides.c.version <= version - HISTORY_KEPT))
        return version

    async def history(self, limit: int = 50) -> tuple[OverrideEntry, ...]:
        rows = await self._database.rows(NEWEST_FIRST.limit(max(limit, 0)))
        return tuple(OverrideEntry(row.version, row.document, row.who, row.changed_at) for row in rows)
