"""Notes in SQL."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import metadata
from orchestrator.domain.note import Note, check_note

tool_notes = sa.Table(
    "tool_notes",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True, nullable=False) for name in ("principal", "namespace", "key")),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("stored_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
)
_c = tool_notes.c


class SqlNotes:
    """`NoteStore`: a row for each. Those that have expired go when their principal writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, note: Note, most: int) -> bool:
        check_note(note)
        row = {
            "principal": note.principal,
            "namespace": note.namespace,
            "key": note.key,
            "value": json.dumps(note.value),
            "stored_at": note.stored_at,
            "expires_at": note.expires_at,
        }
        mine = _c.principal == note.principal
        others = mine & ~((_c.namespace == note.namespace) & (_c.key == note.key))
        async with self._database.write() as connection:
            await connection.execute(sa.delete(tool_notes).where(mine & (_c.expires_at <= note.stored_at)))
            count = await connection.scalar(sa.select(sa.func.count()).select_from(tool_notes).where(others))
            if (count or 0) >= most:
                return False
            await connection.execute(self._database.replace(tool_notes), row)
        return True

    async def get(self, principal: str, namespace: str, key: str, now: float) -> Note | None:
        rows = await self._database.rows(sa.select(tool_notes).where(_live(principal, namespace, now), _c.key == key))
        if not rows:
            return None
        row = rows[0]
        return Note(principal, namespace, key, json.loads(row.value), row.stored_at, row.expires_at)

    async def keys(
        self, principal: str, namespace: str, now: float, limit: int, skip: int
    ) -> tuple[tuple[str, ...], int]:
        live = _live(principal, namespace, now)
        order = sa.collate(_c.key, "C") if self._database.dialect == "postgresql" else _c.key
        rows = await self._database.rows(sa.select(_c.key).where(live).order_by(order).limit(limit).offset(skip))
        counts = await self._database.rows(
            sa.select(sa.func.count().label("number")).select_from(tool_notes).where(live)
        )
        return tuple(row.key for row in rows), counts[0].number

    async def clear(self, principal: str, namespace: str, key: str | None, now: float) -> int:
        wanted = _live(principal, namespace, now)
        if key is not None:
            wanted &= _c.key == key
        return await self._database.run(sa.delete(tool_notes).where(wanted))


def _live(principal: str, namespace: str, now: float) -> sa.ColumnElement[Any]:
    there = sa.or_(_c.expires_at.is_(None), _c.expires_at > now)
    return (_c.principal == principal) & (_c.namespace == namespace) & there
