"""API keys in SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import api_keys
from orchestrator.domain.api_key import ApiKey
from orchestrator.domain.errors import Conflict
from orchestrator.domain.storable import check_storable, is_key


class SqlKeys:
    """`KeyStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[ApiKey, ...]:
        rows = await self._database.rows(sa.select(api_keys))
        return tuple(sorted((_key(row) for row in rows), key=lambda key: (key.created_at, key.id)))

    async def put(self, key: ApiKey) -> None:
        check_storable(key, key.id, key.hash)
        try:
            await self._database.run(self._database.replace(api_keys), asdict(key) | {"models": list(key.models)})
        except Conflict as error:
            raise Conflict("another API key has the same hash") from error

    async def revoke(self, key_id: str, when: float) -> bool:
        check_storable(when)
        if not is_key(key_id):
            return False
        usable = sa.update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        return await self._database.run(usable, {"revoked_at": when}) > 0

    async def find(self, key_hash: str) -> ApiKey | None:
        if not is_key(key_hash):
            return None
        rows = await self._database.rows(sa.select(api_keys).where(api_keys.c.hash == key_hash))
        return _key(rows[0]) if rows else None

    async def touch(self, key_ids: Iterable[str], when: float) -> None:
        check_storable(when)
        rows = [{"of_id": key_id} for key_id in key_ids if is_key(key_id)]
        if not rows:
            return
        used = api_keys.c.last_used_at
        statement = (
            sa.update(api_keys)
            .where(api_keys.c.id == sa.bindparam("of_id"), sa.or_(used.is_(None), used < when))
            .values(last_used_at=when)
        )
        await self._database.run(statement, rows)


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(**dict(row._mapping) | {"models": tuple(row.models)})
