"""Sums by minute, hour and day, and sums of them.

What is added goes to its minute, its hour and its day at once. Folding minutes into hours is then only forgetting: a
date in `meta` says from when on minutes count, and what is before it is deleted bit by bit.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.history_insert import ROWS, add_all
from orchestrator.adapters.sql.tables import failures, meta, rollups
from orchestrator.domain.rollup_span import rollup_spans
from orchestrator.ports.history import BUCKETS, DAY, HOUR, MINUTE, Rollup

MINUTES_FROM = "history_minutes_from"  # seconds since the epoch, a whole hour
AT_ONCE = 250  # rows made into objects before others get their turn

Key = tuple[int, int, int, int]
COUNTS = ("requests", "answered", "errors", "cancelled", "streams", "chunks", "prompt_tokens", "completion_tokens")
SUMS = ("duration_sum", "ttft_sum", "queue_wait_sum")
DURATIONS = tuple(f"duration_{bucket}" for bucket in range(BUCKETS))
TTFTS = tuple(f"ttft_{bucket}" for bucket in range(BUCKETS))
minutes_from = sa.select(sa.cast(meta.c.value, sa.BigInteger)).where(meta.c.name == MINUTES_FROM)


class SqlRollups:
    """Two tables: what happened, and the failures by code."""

    def __init__(self, database: Database) -> None:
        self._postgres = database.dialect == "postgresql"
        since = sa.func.coalesce(minutes_from.scalar_subquery(), 0)
        self._adds = {
            table: tuple(
                add_all(database, table, span, counted)
                for span, counted in (
                    (MINUTE, sa.column("start") >= since),
                    (HOUR, sa.true()),
                    (DAY, sa.true()),
                )
            )
            for table in (rollups, failures)
        }

    async def add(self, connection: AsyncConnection, sums: Sequence[Rollup], numbers: Mapping[str, int]) -> None:
        rows = [_row(rollup, numbers) for rollup in sums]
        failed = [
            _key(rollup, numbers) | {"error": numbers[error], "failed": count}
            for rollup in sums
            for error, count in rollup.failures.items()
        ]
        for table, values in ((rollups, rows), (failures, failed)):
            if values:
                text = msgspec.json.encode(values).decode()
                for statement in self._adds[table]:
                    await connection.execute(statement, {ROWS: text})

    async def sums(
        self, connection: AsyncConnection, since: float, until: float, step: int, where: Mapping[str, int]
    ) -> list[tuple[Key, sa.Row[Any], dict[int, int]]]:
        """By key (start, node, model, endpoint), rising: the sums and the failures by the error's number."""
        first = (await connection.execute(minutes_from)).scalar() or 0
        parts = rollup_spans(since, until, step, first)
        if not parts:
            return []
        if self._postgres:
            # Compiling so many sums takes longer than adding them up.
            await connection.execute(sa.text("SET LOCAL jit = off"))
        counted = (*COUNTS, *SUMS, *DURATIONS, *TTFTS)
        rows = (await connection.execute(_summed(rollups, parts, since, step, where, counted))).all()
        failed: defaultdict[Key, dict[int, int]] = defaultdict(dict)
        query = _summed(failures, parts, since, step, where, ("failed",), ("error",))
        for row in await connection.execute(query):
            failed[row[0], row[1], row[2], row[3]][row.error] = row.failed
        found = []
        for row in rows:
            key = row[0], row[1], row[2], row[3]
            found.append((key, row, failed.get(key, {})))
        return found


async def rollups_of(
    found: Sequence[tuple[Key, sa.Row[Any], dict[int, int]]], texts: Mapping[int, str]
) -> tuple[Rollup, ...]:
    made = []
    for index, ((start, node, model, endpoint), row, failed) in enumerate(found):
        if index % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        values: tuple[Any, ...] = tuple(row)[4:]
        buckets = values[len(COUNTS) + len(SUMS) :]
        by_code = {texts[error]: count for error, count in failed.items()}
        numbers = (*values[: len(COUNTS) + len(SUMS)], buckets[:BUCKETS], buckets[BUCKETS:], by_code)
        made.append(Rollup(start, texts[node], texts[model], texts[endpoint], *numbers))
    return tuple(sorted(made, key=lambda rollup: (rollup.start, rollup.node, rollup.model, rollup.endpoint)))


def _summed(
    table: sa.Table,
    parts: Sequence[tuple[int, int, int]],
    since: float,
    step: int,
    where: Mapping[str, int],
    counted: Sequence[str],
    also: Sequence[str] = (),
) -> sa.Select[Any]:
    selects = [
        sa.select(table).where(
            table.c.span == span,
            table.c.start >= start,
            table.c.start < end,
            *(table.c[name] == number for name, number in where.items()),
        )
        for span, start, end in parts
    ]
    rows = sa.union_all(*selects).subquery() if len(selects) > 1 else selects[0].subquery()
    start: sa.ColumnElement[int] = sa.literal(int(since), sa.Integer)
    if step:
        start = rows.c.start - rows.c.start % sa.literal_column(str(int(step)))
    by = [start.label("begins"), *(rows.c[name] for name in ("node", "model", "endpoint", *also))]
    grouped = by if step else by[1:]
    sums = [_sum(rows.c[name]).label(name) for name in counted]
    return sa.select(*by, *sums).group_by(*grouped)


def _sum(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    total = sa.func.sum(column)
    # PostgreSQL adds integers of 64 bits up to a number without an end.
    return sa.cast(total, sa.BigInteger) if isinstance(column.type, sa.BigInteger) else total


def _key(rollup: Rollup, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "start": rollup.start - rollup.start % MINUTE,
        "node": numbers[rollup.node],
        "model": numbers[rollup.model],
        "endpoint": numbers[rollup.endpoint],
    }


def _row(rollup: Rollup, numbers: Mapping[str, int]) -> dict[str, Any]:
    row = _key(rollup, numbers)
    row.update((name, getattr(rollup, name)) for name in (*COUNTS, *SUMS))
    row.update(zip(DURATIONS, rollup.durations, strict=True))
    row.update(zip(TTFTS, rollup.ttfts, strict=True))
    return row
