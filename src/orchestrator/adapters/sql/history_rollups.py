"""Sums by minute, hour and day, and sums of them.

What is added goes to its minute, its hour and its day at once. Folding minutes into hours is then only forgetting: a
date in `meta` says from when on minutes count, and what is before it is deleted bit by bit.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.history_insert import ROWS, add_all
from orchestrator.adapters.sql.tables import failures, meta, rollups
from orchestrator.domain.rollup_span import Part, rollup_spans
from orchestrator.ports.history import BUCKETS, DAY, EVERY, HOUR, MINUTE, Rollup

MINUTES_FROM = "history_minutes_from"  # seconds since the epoch, a whole hour
AT_ONCE = 250  # rows made into objects before others get their turn

Key = tuple[int, int, int, int]
Found = tuple[Key, sa.Row[Any], dict[int, int]]
COUNTS = ("requests", "answered", "errors", "cancelled", "streams", "chunks", "prompt_tokens", "completion_tokens")
SUMS = ("duration_sum", "ttft_sum", "queue_wait_sum")
DURATIONS = tuple(f"duration_{bucket}" for bucket in range(BUCKETS))
TTFTS = tuple(f"ttft_{bucket}" for bucket in range(BUCKETS))
PLAIN = len(COUNTS) + len(SUMS)
minutes_from = sa.select(sa.cast(meta.c.value, sa.BigInteger)).where(meta.c.name == MINUTES_FROM)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sums, as `HistoryStore.rollups` is asked for them."""

    since: float
    until: float
    step: int
    by: Sequence[str] = EVERY
    brief: bool = False


class SqlRollups:
    """Two tables: what happened, and the failures by code."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._postgres = database.dialect == "postgresql"

    @cached_property
    def _adds(self) -> dict[sa.Table, tuple[sa.Insert, ...]]:
        """By table: what adds sums to it. To put them together takes longer than most starts can spare."""
        since = sa.func.coalesce(minutes_from.scalar_subquery(), 0)
        return {
            table: tuple(
                add_all(self._database, table, span, counted)
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

    async def sums(self, connection: AsyncConnection, wanted: Wanted, where: Mapping[str, int]) -> list[Found]:
        """By key (start, node, model, endpoint): the sums, and the failures by the error's number."""
        parts = await self._parts(connection, wanted)
        if not parts:
            return []
        if self._postgres:
            # Compiling so many sums takes longer than adding them up.
            await connection.execute(sa.text("SET LOCAL jit = off"))
        counted = (*COUNTS, *SUMS) if wanted.brief else (*COUNTS, *SUMS, *DURATIONS, *TTFTS)
        rows = (await connection.execute(_summed(rollups, parts, wanted, where, counted))).all()
        failed: defaultdict[Key, dict[int, int]] = defaultdict(dict)
        if not wanted.brief:
            for row in await connection.execute(_summed(failures, parts, wanted, where, ("failed",), ("error",))):
                failed[row[0], row[1], row[2], row[3]][row.error] = row.failed
        found: list[Found] = []
        for row in rows:
            key = row[0], row[1], row[2], row[3]
            found.append((key, row, failed.get(key, {})))
        return found

    async def counts(self, connection: AsyncConnection, wanted: Wanted, where: Mapping[str, int]) -> dict[int, int]:
        """How many keys each step has."""
        found: dict[int, int] = {}
        parts = await self._parts(connection, wanted)
        for part in parts:
            # Rows as long as a step are as many as their keys: none of them is compared.
            if part[0] == wanted.step:
                query = sa.select(rollups.c.start, sa.func.count()).where(*_within(rollups, part, where))
                rows = await connection.execute(query.group_by(rollups.c.start))
                found.update((start, count) for start, count in rows)
        shorter = [part for part in parts if part[0] != wanted.step]
        if shorter:
            selects = [
                sa.select(_begins(rollups.c.start, wanted), *(rollups.c[name] for name in EVERY))
                .where(*_within(rollups, part, where))
                .distinct()
                for part in shorter
            ]
            keys = (sa.union(*selects) if len(selects) > 1 else selects[0]).subquery()
            rows = await connection.execute(sa.select(keys.c.begins, sa.func.count()).group_by(keys.c.begins))
            for start, count in rows:
                found[start] = found.get(start, 0) + count
        return dict(sorted(found.items()))

    async def _parts(self, connection: AsyncConnection, wanted: Wanted) -> Sequence[Part]:
        first = (await connection.execute(minutes_from)).scalar() or 0
        return rollup_spans(wanted.since, wanted.until, wanted.step, first)


async def rollups_of(found: Sequence[Found], texts: Mapping[int, str]) -> tuple[Rollup, ...]:
    made = []
    for index, ((start, node, model, endpoint), row, failed) in enumerate(found):
        if index % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        values: tuple[Any, ...] = tuple(row)[4:]
        sums, buckets = values[:PLAIN], values[PLAIN:]
        one = Rollup(start, texts[node], texts[model], texts[endpoint], *sums)
        if buckets:
            by_code = {texts[error]: count for error, count in failed.items()}
            one = replace(one, durations=buckets[:BUCKETS], ttfts=buckets[BUCKETS:], failures=by_code)
        made.append(one)
    return tuple(sorted(made, key=lambda rollup: (rollup.start, rollup.node, rollup.model, rollup.endpoint)))


def _summed(
    table: sa.Table,
    parts: Sequence[Part],
    wanted: Wanted,
    where: Mapping[str, int],
    counted: Sequence[str],
    also: Sequence[str] = (),
) -> sa.Select[Any]:
    """Sums in two turns where the first follows the order of the rows: it needs no sorting and leaves few to sort."""
    by = [*wanted.by, *also]
    ordered = wanted.step > 0 and len(by) < len(EVERY) and tuple(by) == EVERY[: len(by)]
    selects = [_part(table, part, where, by, counted, ordered) for part in parts]
    rows = sa.union_all(*selects).subquery() if len(selects) > 1 else selects[0].subquery()
    keys = [rows.c[name] if name in wanted.by else sa.literal_column("0").label(name) for name in EVERY]
    more = [rows.c[name] for name in also]
    sums = [_sum(rows.c[name], again=ordered).label(name) for name in counted]
    start = _begins(rows.c.start, wanted)
    grouped = [*([start] if wanted.step else ()), *(rows.c[name] for name in by)]
    query = sa.select(start, *keys, *more, *sums)
    # Without anything to group by there is one row, also of nothing.
    return query.group_by(*grouped) if grouped else query.having(sa.func.count() > 0)


def _part(
    table: sa.Table, part: Part, where: Mapping[str, int], by: Sequence[str], counted: Sequence[str], ordered: bool
) -> sa.Select[Any]:
    keys = [table.c.start, *(table.c[name] for name in by)]
    if not ordered:
        return sa.select(*keys, *(table.c[name] for name in counted)).where(*_within(table, part, where))
    sums = (_sum(table.c[name]).label(name) for name in counted)
    return sa.select(*keys, *sums).where(*_within(table, part, where)).group_by(*keys)


def _within(table: sa.Table, part: Part, where: Mapping[str, int]) -> Iterator[sa.ColumnElement[bool]]:
    span, start, end = part
    yield from (table.c.span == span, table.c.start >= start, table.c.start < end)
    yield from (table.c[name] == number for name, number in where.items())


def _begins(start: sa.ColumnElement[int], wanted: Wanted) -> sa.Label[int]:
    if not wanted.step:
        return sa.literal(int(wanted.since), sa.Integer).label("begins")
    return (start - start % sa.literal_column(str(int(wanted.step)))).label("begins")


def _sum(column: sa.ColumnElement[Any], *, again: bool = False) -> sa.ColumnElement[Any]:
    total = sa.func.sum(column)
    # PostgreSQL adds integers of 64 bits, as sums are, up to a number without an end.
    wide = isinstance(column.type, sa.BigInteger) or (again and isinstance(column.type, sa.Integer))
    return sa.cast(total, sa.BigInteger) if wide else total


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
