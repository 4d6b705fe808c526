"""The history of requests in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql import history_rows as as_rows
from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.history_insert import ROWS, insert_all
from orchestrator.adapters.sql.history_names import HistoryNames
from orchestrator.adapters.sql.history_pruning import HistoryPruning
from orchestrator.adapters.sql.history_rollups import SqlRollups, Wanted, rollups_of
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.tables import decisions, requests, rollups
from orchestrator.domain.storable import plain_text
from orchestrator.ports.history import DAY, EVERY, Decision, HistoryBatch, HistorySize, RequestFilter, Retention, Rollup
from orchestrator.ports.record import RequestRecord

AT_ONCE = 250  # rows made of objects before others get their turn
T = TypeVar("T")
NAMED = ("node", "model", "endpoint", "principal", "error", "outcome")


class SqlHistory:
    """`HistoryStore` on two tables of rows, two of sums, and the names in them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = HistoryNames(database)
        self._rollups = SqlRollups(database)
        self._pruning = HistoryPruning(database)
        self._inserts = {table: insert_all(database, table) for table in (requests, decisions)}

    async def append(self, batch: HistoryBatch) -> None:
        if not (batch.requests or batch.decisions or batch.rollups):
            return
        numbers = await self._names.numbers(_names(batch), _day(batch))
        rows = {
            requests: await _encoded(batch.requests, lambda record: as_rows.request_row(record, numbers)),
            decisions: await _encoded(batch.decisions, lambda decision: as_rows.decision_row(decision, numbers)),
        }
        async with self._database.write() as connection:
            for table, text in rows.items():
                if text:
                    await connection.execute(self._inserts[table], {ROWS: text})
            await self._rollups.add(connection, batch.rollups, numbers)

    async def requests(self, wanted: RequestFilter, limit: int, offset: int = 0) -> tuple[RequestRecord, ...]:
        async with self._database.read() as connection:
            numbers = await self._numbers(connection, {name: getattr(wanted, name) for name in NAMED})
            if numbers is None:
                return ()
            failed = None if wanted.success is None else await self._names.find(connection, "error")
            page = _page(_matching(wanted, numbers, failed or 0), requests, limit, offset)
            rows = (await connection.execute(page)).all()
            found = {number for row in rows for number in as_rows.request_numbers(row)}
            texts = await self._names.texts(connection, found)
        return tuple(as_rows.request_record(row, texts) for row in rows)

    async def decisions(
        self, *, since: float, until: float, limit: int, node: str | None = None, model: str | None = None
    ) -> tuple[Decision, ...]:
        async with self._database.read() as connection:
            numbers = await self._numbers(connection, {"node": node, "model": model})
            if numbers is None:
                return ()
            matching = sa.select(decisions.c.id).where(
                decisions.c.at >= as_rows.micros(since),
                decisions.c.at < as_rows.micros(until),
                *(decisions.c[name] == number for name, number in numbers.items()),
            )
            rows = (await connection.execute(_page(matching, decisions, limit, 0))).all()
            candidates, found = await asyncio.to_thread(as_rows.decisions_of, rows)
            texts = await self._names.texts(connection, found)
        return await asyncio.to_thread(as_rows.read_decisions, rows, candidates, texts)

    async def rollups(
        self,
        *,
        since: float,
        until: float,
        step: int,
        node: str | None = None,
        model: str | None = None,
        by: Sequence[str] = EVERY,
        brief: bool = False,
    ) -> tuple[Rollup, ...]:
        async with self._database.read() as connection:
            numbers = await self._numbers(connection, {"node": node, "model": model})
            if numbers is None:
                return ()
            found = await self._rollups.sums(connection, Wanted(since, until, step, by, brief), numbers)
            used = {number for key, _, _ in found for number in key[1:]}
            used.update(error for _, _, failed in found for error in failed)
            texts = await self._names.texts(connection, used)
        return await rollups_of(found, texts)

    async def rollup_counts(
        self, *, since: float, until: float, step: int, node: str | None = None, model: str | None = None
    ) -> Mapping[int, int]:
        async with self._database.read() as connection:
            numbers = await self._numbers(connection, {"node": node, "model": model})
            if numbers is None:
                return {}
            return await self._rollups.counts(connection, Wanted(since, until, step), numbers)

    async def prune(self, retention: Retention, now: float, rows: int) -> int:
        return await self._pruning.prune(retention, now, rows)

    async def size(self) -> HistorySize:
        """Requests and decisions by their numbers: exact unless rows went out of turn. No row of them is read."""
        async with self._database.read() as connection:
            spans = [
                (await connection.execute(sa.select(sa.func.coalesce(end - start + 1, 0)))).scalar_one()
                for start, end in (
                    (sa.select(pick(table.c.id)).scalar_subquery() for pick in (sa.func.min, sa.func.max))
                    for table in (requests, decisions)
                )
            ]
            summed = (await connection.execute(sa.select(sa.func.count()).select_from(rollups))).scalar_one()
            held = (await connection.execute(sa.text(BYTES[self._database.dialect]))).scalar_one()
        return HistorySize(spans[0], spans[1], summed, held + await asyncio.to_thread(self._journal))

    def _journal(self) -> int:
        """Bytes of the write-ahead log beside a SQLite file."""
        location = self._database.location
        if not isinstance(location, SqliteFile):
            return 0
        journal = location.path.with_name(f"{location.path.name}-wal")
        return journal.stat().st_size if journal.exists() else 0

    async def _numbers(self, connection: AsyncConnection, texts: Mapping[str, str | None]) -> dict[str, int] | None:
        """The numbers of the texts that are wanted, None when no row has one of them."""
        found = {}
        for name, text in texts.items():
            if text is not None:
                number = await self._names.find(connection, text)
                if number is None:
                    return None
                found[name] = number
        return found


BYTES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def _names(batch: HistoryBatch) -> set[str]:
    found = {name for record in batch.requests for name in as_rows.request_names(record)}
    found.update(name for decision in batch.decisions for name in as_rows.decision_names(decision))
    for rollup in batch.rollups:
        found.update((rollup.node, rollup.model, rollup.endpoint, *rollup.failures))
    return found


def _day(batch: HistoryBatch) -> int:
    times = [*(record.at for record in batch.requests), *(decision.at for decision in batch.decisions)]
    return int(max([*times, *(rollup.start for rollup in batch.rollups)]) // DAY)


async def _encoded(items: Sequence[T], row: Callable[[T], dict[str, Any]]) -> str:
    rows: list[dict[str, Any]] = []
    for first in range(0, len(items), AT_ONCE):
        rows.extend(map(row, items[first : first + AT_ONCE]))
        await asyncio.sleep(0)
    return msgspec.json.encode(rows).decode() if rows else ""


def _matching(wanted: RequestFilter, numbers: Mapping[str, int], failed: int) -> sa.Select[tuple[int]]:
    c = requests.c
    conditions = [c[name] == number for name, number in numbers.items()]
    if wanted.since is not None:
        conditions.append(c.at >= as_rows.micros(wanted.since))
    if wanted.until is not None:
        conditions.append(c.at < as_rows.micros(wanted.until))
    if wanted.success is not None:
        conditions.append(c.outcome != failed if wanted.success else c.outcome == failed)
    if wanted.retried is not None:
        conditions.append(c.tries > 1 if wanted.retried else c.tries <= 1)
    index = "ix_requests_at"
    if _in_trouble(wanted):
        index = "ix_requests_trouble"
        conditions.append(c.trouble == sa.literal_column("1"))
    if wanted.request_id is not None:
        index = "ix_requests_request_hash"
        request_id = plain_text(wanted.request_id)
        conditions += [c.request_hash == as_rows.request_hash(request_id), c.request_id == request_id]
    # SQLite has no statistics to choose by.
    return sa.select(c.id).where(*conditions).with_hint(requests, f"INDEXED BY {index}", "sqlite")


def _in_trouble(wanted: RequestFilter) -> bool:
    return bool(
        wanted.success is False
        or wanted.retried
        or wanted.error
        or (wanted.outcome is not None and wanted.outcome != "ok")
    )


def _page(matching: sa.Select[tuple[int]], table: sa.Table, limit: int, offset: int) -> sa.Select[Any]:
    """The rows: found by their index alone, then read."""
    newest: Iterable[sa.ColumnElement[Any]] = (table.c.at.desc(), table.c.id.desc())
    page = matching.order_by(*newest).limit(limit).offset(offset).subquery()
    return sa.select(table).join(page, table.c.id == page.c.id).order_by(*newest)
