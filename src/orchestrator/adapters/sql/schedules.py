"""Schedules in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import schedules
from orchestrator.domain.schedule import CatchUp, Schedule, check_schedule
from orchestrator.domain.storable import is_key

NAMES = tuple(field.name for field in fields(Schedule))


class SqlSchedules:
    """`ScheduleStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        await self._database.run(sa.insert(schedules), _row(schedule))

    async def get(self, schedule_id: str) -> Schedule | None:
        if not is_key(schedule_id):
            return None
        rows = await self._database.rows(sa.select(schedules).where(schedules.c.id == schedule_id))
        return _schedule(rows[0]._mapping) if rows else None

    async def list(self, limit: int, after: str = "") -> tuple[Schedule, ...]:
        if not is_key(after):
            return ()
        # By bytes in both databases: the order of a language would depend on the server.
        order = sa.collate(schedules.c.id, "C") if self._database.dialect == "postgresql" else schedules.c.id
        page = sa.select(schedules).where(order > after).order_by(order).limit(limit)
        return tuple(_schedule(row._mapping) for row in await self._database.rows(page))

    async def due(self, now: float, limit: int) -> tuple[Schedule, ...]:
        due = sa.select(schedules).where(schedules.c.next_run_at <= now)
        rows = await self._database.rows(due.order_by(schedules.c.next_run_at, schedules.c.id).limit(limit))
        return tuple(_schedule(row._mapping) for row in rows)

    async def next_due(self) -> float | None:
        rows = await self._database.rows(sa.select(sa.func.min(schedules.c.next_run_at)))
        found: float | None = rows[0][0]
        return found

    async def save(self, schedule: Schedule, expected: int) -> bool:
        check_schedule(schedule)
        mine = (schedules.c.id == schedule.id, schedules.c.version == expected)
        return await self._database.run(sa.update(schedules).where(*mine).values(**_row(schedule))) > 0

    async def delete(self, schedule_id: str) -> bool:
        if not is_key(schedule_id):
            return False
        return await self._database.run(sa.delete(schedules).where(schedules.c.id == schedule_id)) > 0


def _row(schedule: Schedule) -> dict[str, Any]:
    row = {name: getattr(schedule, name) for name in NAMES}
    return row | {"task": schedule.task.decode(), "catch_up": schedule.catch_up.value}


def _schedule(row: Mapping[Any, Any]) -> Schedule:
    return Schedule(**dict(row) | {"task": row["task"].encode(), "catch_up": CatchUp(row["catch_up"])})
