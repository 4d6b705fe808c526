"""What need not be kept any more goes, a bounded number of rows in each transaction."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.history_rollups import MINUTES_FROM, minutes_from
from orchestrator.adapters.sql.history_rows import micros
from orchestrator.adapters.sql.tables import decisions, failures, meta, names, requests, rollups
from orchestrator.ports.history import DAY, HOUR, MINUTE, Retention

SPARE_DAYS = 2  # beyond everything that may have a name; see HistoryNames


class HistoryPruning:
    """One pass over everything for each call, as far as the number of rows reaches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune(self, retention: Retention, now: float, rows: int) -> int:
        first_minute = int(now - retention.minutes_age) // HOUR * HOUR
        await self._fold(first_minute)
        first_day = int(now - retention.hours_age) // DAY * DAY
        ends = {MINUTE: first_minute, HOUR: first_day, DAY: first_day}
        left = rows
        for statement in (
            *_too_old(requests, now - retention.requests_age),
            *_too_many(requests, retention.requests_rows),
            *_too_old(decisions, now - retention.decisions_age),
            *_too_many(decisions, retention.decisions_rows),
            *(_sums_before(table, span, end) for table in (rollups, failures) for span, end in ends.items()),
            _names_before(now, retention),
        ):
            if left <= 0:
                break
            left -= await self._database.run(statement, {"most": left})
        return rows - left

    async def _fold(self, first_minute: int) -> None:
        """From here on, hours stand for the minutes before. Both were counted from the start: no sum changes."""
        async with self._database.read() as connection:
            known = (await connection.execute(minutes_from)).scalar() or 0
        if first_minute > known:
            values = {"name": MINUTES_FROM, "value": str(first_minute)}
            await self._database.run(self._database.replace(meta), values)


MOST = sa.bindparam("most", type_=sa.Integer)


def _too_old(table: sa.Table, before: float) -> Sequence[sa.Delete]:
    old = sa.select(table.c.id).where(table.c.at < micros(before)).order_by(table.c.at).limit(MOST)
    return (sa.delete(table).where(table.c.id.in_(old)),)


def _too_many(table: sa.Table, kept: int) -> Sequence[sa.Delete]:
    # Rows are numbered without gaps but for those that went before their turn: at most this many are kept.
    last = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    surplus = sa.select(table.c.id).where(table.c.id <= last - kept).order_by(table.c.id).limit(MOST)
    return (sa.delete(table).where(table.c.id.in_(surplus)),)


def _sums_before(table: sa.Table, span: int, end: int) -> sa.Delete:
    """Whole minutes or hours, the oldest first: up to the one in which the number of rows is reached."""
    old = sa.select(table.c.start).where(table.c.span == span, table.c.start < end).order_by(table.c.start)
    reached = old.limit(1).offset(MOST - 1).scalar_subquery()
    upto = sa.func.coalesce(reached, end - 1)
    return sa.delete(table).where(table.c.span == span, table.c.start <= upto)


def _names_before(now: float, retention: Retention) -> sa.Delete:
    oldest = max(retention.requests_age, retention.decisions_age, retention.hours_age, retention.minutes_age)
    unused = names.c.used < int((now - oldest) // DAY) - SPARE_DAYS
    return sa.delete(names).where(names.c.id.in_(sa.select(names.c.id).where(unused).limit(MOST)))
