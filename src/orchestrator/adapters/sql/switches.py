"""Switches in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import switches
from orchestrator.domain.storable import check_storable


class SqlSwitches:
    """`SwitchStore`: a row for each name that is off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def off(self) -> frozenset[str]:
        return frozenset(row.name for row in await self._database.rows(sa.select(switches.c.name)))

    async def put(self, name: str, *, off: bool, when: float) -> None:
        check_storable((name, when), name)
        if off:
            await self._database.run(self._database.add(switches), {"name": name, "off_since": when})
        else:
            await self._database.run(sa.delete(switches).where(switches.c.name == name))
