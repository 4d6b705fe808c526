"""Texts that occur in many rows, kept once and known by a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import names
from orchestrator.domain.storable import plain_text

CACHED = 10_000  # clients choose some of the names: what is remembered has an end


class HistoryNames:
    """Numbers of texts, shared by every process on the database; 0 is the empty text.

    A name carries the last day on which it was used, so that old ones can go when no row is as old as that. A process
    says once a day of a name that it is in use, before it writes a row with it; so no number it remembers is gone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, tuple[int, int]] = {}  # by text: number, day
        self._texts: dict[int, str] = {0: ""}
        listed: Any = sa.func.json_each if database.dialect == "sqlite" else sa.func.json_array_elements_text
        text = sa.bindparam("texts", type_=sa.Text)
        source = listed(text if database.dialect == "sqlite" else sa.cast(text, postgresql.JSON))
        value = source.table_valued("value").c.value
        self._select = sa.select(names.c.id, names.c.name).where(names.c.name.in_(sa.select(value)))
        insert = database.upsert(names).from_select(
            ["name", "used"],
            sa.select(value, sa.bindparam("day", type_=sa.Integer)).where(sa.true()).order_by(value),
        )
        self._insert = insert.on_conflict_do_update(
            index_elements=[names.c.name],
            set_={"used": insert.excluded.used},
            where=names.c.used < insert.excluded.used,
        )

    async def numbers(self, texts: Iterable[str], day: int) -> Mapping[str, int]:
        """The number of each text; those that have none get one, in a transaction of their own."""
        found = {text: self._numbers.get(text, (0, -1)) for text in texts}
        found[""] = (0, day)
        plain = {text: plain_text(text) for text, (_, used) in found.items() if used < day}
        if plain:
            listed = msgspec.json.encode(sorted(set(plain.values()) - {""})).decode()
            async with self._database.write() as connection:
                await connection.execute(self._insert, {"texts": listed, "day": day})
                rows = (await connection.execute(self._select, {"texts": listed})).all()
            known = {row.name: row.id for row in rows} | {"": 0}
            fresh = {text: (known[kept], day) for text, kept in plain.items()}
            self._remember(fresh)
            found.update(fresh)
        return {text: number for text, (number, _) in found.items()}

    async def find(self, connection: AsyncConnection, text: str) -> int | None:
        """The number of a text, None when no row has it."""
        kept = plain_text(text)
        if not kept:
            return 0
        return (await connection.execute(sa.select(names.c.id).where(names.c.name == kept))).scalar()

    async def texts(self, connection: AsyncConnection, numbers: Iterable[int]) -> Mapping[int, str]:
        """The text of each number."""
        wanted = set(numbers)
        found = {number: self._texts[number] for number in wanted if number in self._texts}
        missing = sorted(wanted - found.keys())
        for first in range(0, len(missing), 500):
            query = sa.select(names.c.id, names.c.name).where(names.c.id.in_(missing[first : first + 500]))
            found.update((row.id, row.name) for row in await connection.execute(query))
        if len(self._texts) > CACHED:
            self._texts = {0: ""}
        self._texts.update(found)
        return {number: found.get(number, "") for number in wanted}

    def _remember(self, fresh: Mapping[str, tuple[int, int]]) -> None:
        if len(self._numbers) > CACHED:
            self._numbers.clear()
        self._numbers.update(fresh)
