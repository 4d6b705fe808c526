"""Meanings in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.text_tables import artifact_meanings, artifact_texts, tool_meanings, tool_texts
from orchestrator.ports.meanings import Meaning, ThingKind

AT_ONCE = 500  # rows that are forgotten in one transaction
TABLES = {
    ThingKind.TOOL: (tool_texts, tool_meanings, "tool_id"),
    ThingKind.ARTIFACT: (artifact_texts, artifact_meanings, "artifact_id"),
}


class SqlMeanings:
    """`MeaningStore` on two tables for each kind."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, kind: ThingKind, limit: int) -> tuple[tuple[str, str], ...]:
        texts, meanings, key = TABLES[kind]
        query = (
            sa.select(texts.c[key].label("thing"), meanings.c.digest)
            .select_from(texts.outerjoin(meanings, meanings.c[key] == texts.c[key]))
            .where(texts.c.pending)
            .order_by(texts.c.seq.desc())
            .limit(limit)
        )
        return tuple((str(row.thing), row.digest or "") for row in await self._database.rows(query))

    async def keep(self, kind: ThingKind, found: Sequence[Meaning], at: float) -> None:
        texts, meanings, key = TABLES[kind]
        async with self._database.write() as connection:
            some = texts.c[key].in_([one.id for one in found])
            there = set((await connection.execute(sa.select(texts.c[key]).where(some).with_for_update())).scalars())
            rows = [
                {key: one.id, "model": one.model, "digest": one.digest, "vector": one.vector, "at": at}
                for one in found
                if one.id in there
            ]
            if rows:
                await connection.execute(self._database.replace(meanings), rows)
                await connection.execute(sa.update(texts).where(some).values(pending=False))

    async def settled(self, kind: ThingKind, ids: Collection[str]) -> None:
        texts, _, key = TABLES[kind]
        await self._database.run(sa.update(texts).where(texts.c[key].in_(ids)).values(pending=False))

    async def forget_others(self, kind: ThingKind, model: str) -> int:
        texts, meanings, key = TABLES[kind]
        count = 0
        while True:
            async with self._database.write() as connection:
                others = sa.select(meanings.c[key]).where(meanings.c.model != model).limit(AT_ONCE)
                ids = list((await connection.execute(others)).scalars())
                if not ids:
                    return count
                await connection.execute(sa.update(texts).where(texts.c[key].in_(ids)).values(pending=True))
                await connection.execute(sa.delete(meanings).where(meanings.c[key].in_(ids)))
                count += len(ids)

    async def since(self, kind: ThingKind, at: float, limit: int) -> tuple[tuple[Meaning, float], ...]:
        _, meanings, key = TABLES[kind]
        columns = meanings.c
        newest = sa.select(meanings).where(columns.at >= at).order_by(columns.at.desc()).limit(limit)
        rows = await self._database.rows(newest)
        return tuple(
            (Meaning(str(row._mapping[key]), row.model, row.digest, bytes(row.vector)), row.at) for row in rows
        )

    async def count(self, kind: ThingKind) -> int:
        _, meanings, _ = TABLES[kind]
        rows = await self._database.rows(sa.select(sa.func.count()).select_from(meanings))
        return int(rows[0][0])
