"""Aliases in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import aliases
from orchestrator.domain.alias import Alias
from orchestrator.domain.storable import check_storable, is_key


class SqlAliases:
    """`AliasStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[Alias, ...]:
        rows = await self._database.rows(sa.select(aliases))
        return tuple(sorted((Alias(row.name, tuple(row.targets)) for row in rows), key=lambda alias: alias.name))

    async def put(self, alias: Alias) -> None:
        check_storable(alias, alias.name)
        row = {"name": alias.name, "targets": list(alias.targets)}
        await self._database.run(self._database.replace(aliases), row)

    async def delete(self, name: str) -> bool:
        return is_key(name) and await self._database.run(sa.delete(aliases).where(aliases.c.name == name)) > 0
