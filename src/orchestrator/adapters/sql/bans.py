"""Bans in SQL."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import bans
from orchestrator.domain.ban import Ban
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import check_storable, is_key


class SqlBans:
    """`BanStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[Ban, ...]:
        rows = await self._database.rows(sa.select(bans))
        return tuple(sorted((Ban(**row._mapping) for row in rows), key=lambda ban: (ban.node, ban.model)))

    async def put(self, ban: Ban) -> None:
        if not ban.node and not ban.model:
            raise InvalidRequest("a ban names a node, a model or both")
        check_storable(ban, ban.node, ban.model)
        await self._database.run(self._database.replace(bans), asdict(ban))

    async def delete(self, node: str, model: str) -> bool:
        if not (is_key(node) and is_key(model)):
            return False
        return await self._database.run(sa.delete(bans).where(bans.c.node == node, bans.c.model == model)) > 0

    async def clear(self, *, node: str | None = None, model: str | None = None) -> int:
        statement = sa.delete(bans)
        for column, wanted in ((bans.c.node, node), (bans.c.model, model)):
            if wanted is None:
                continue
            if not is_key(wanted):
                return 0
            statement = statement.where(column == wanted)
        return await self._database.run(statement)
