"""Questions over nodes, tools and artifacts together, in SQL. What tools have made is read from `tool_totals`: none of
these looks at a million artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.artifact_tables import artifacts
from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import registry_nodes, tool_tags, tool_totals, tools
from orchestrator.adapters.sql.tool_upkeep import ORPHANED
from orchestrator.adapters.sql.tools import ENABLED, tags_of
from orchestrator.domain.storable import INTEGER_LIMIT, is_text
from orchestrator.domain.tool import LARGE_BYTES, TOTALS, ToolStatus
from orchestrator.ports.tools import Rows

T, N, S, A = tools.c, registry_nodes.c, tool_totals.c, artifacts.c
COUNTED = S.status == ToolStatus.ENABLED.value
WITH_TOTALS = tools.join(tool_totals, S.tool_id == T.tool_id)
COUNT: sa.ColumnElement[int] = sa.func.count()
AT_ONCE = 3  # connections for the numbers of everything: each counts something large


class SqlToolReports:
    """`ToolReports`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active_tools(self, limit: int, skip: int) -> Rows:
        query = (
            sa.select(
                T.name.label("tool_name"),
                T.category,
                T.version,
                T.status.label("tool_status"),
                N.node_type,
                N.address,
                N.status.label("node_status"),
            )
            .select_from(tools.outerjoin(registry_nodes, N.node_id == T.target_node_id))
            .order_by(T.category, T.name)
        )
        if skip >= INTEGER_LIMIT:
            return ()
        rows = await self._database.rows(query.where(T.tool_id.in_(_page((ENABLED,), limit, skip))))
        return tuple(dict(row._mapping) for row in rows)

    async def tagged_tools(self, category: str | None, limit: int, skip: int) -> Rows:
        if skip >= INTEGER_LIMIT or (category is not None and not is_text(category)):
            return ()
        which = () if category is None else (T.category == category,)
        query = (
            sa.select(T.tool_id, T.name, T.description, T.category, S.artifacts.label("artifact_count"))
            .select_from(WITH_TOTALS)
            .where(T.tool_id.in_(_page((ENABLED, *which), limit, skip)))
            .order_by(T.category, T.name)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            labels = await tags_of(connection, [row.tool_id for row in rows])
        return tuple(
            {
                "name": row.name,
                "description": row.description,
                "category": row.category,
                "tags": list(labels.get(row.tool_id, ())),
                "artifact_count": row.artifact_count,
            }
            for row in rows
        )

    async def nodes(self, limit: int, skip: int) -> Rows:
        if skip >= INTEGER_LIMIT:
            return ()
        order = (N.node_type, N.status, N.created_at, N.node_id)
        page = sa.select(registry_nodes).order_by(*order).limit(limit).offset(skip)
        async with self._database.read() as connection:
            rows = (await connection.execute(page)).all()
            counted = await _on_nodes(connection, [row.node_id for row in rows])
        return tuple(
            {
                "node_id": row.node_id,
                "node_type": row.node_type,
                "address": row.address,
                "status": row.status,
                **counted.get(row.node_id, _NOTHING),
            }
            for row in rows
        )

    async def makers(self, limit: int, skip: int) -> Rows:
        query = (
            sa.select(
                S.name.label("tool_name"),
                S.category,
                S.artifacts.label("total_artifacts"),
                S.bytes.label("total_size_bytes"),
                S.largest.label("max_size_bytes"),
            )
            .where(COUNTED, S.artifacts > 0)
            .order_by(S.bytes.desc(), S.name)
        )
        names = ("total_size_bytes", "total_artifacts", "avg_size_bytes")
        return await self._rows(query, limit, skip, lambda row: _mean(row, *names))

    async def categories(self, limit: int, skip: int) -> Rows:
        made = sa.case((S.artifacts > 0, S.first_at))
        last = sa.case((S.artifacts > 0, S.last_at))
        total = sa.cast(sa.func.sum(S.bytes), sa.BigInteger)
        query = (
            sa.select(
                S.category,
                sa.cast(sa.func.sum(S.artifacts), sa.BigInteger).label("artifact_count"),
                total.label("total_size_bytes"),
                sa.func.min(made).label("oldest_artifact"),
                sa.func.max(last).label("newest_artifact"),
            )
            .group_by(S.category)
            .order_by(total.desc(), S.category)
        )
        names = ("total_size_bytes", "artifact_count", "avg_size_bytes")
        return await self._rows(query, limit, skip, lambda row: _mean(row, *names))

    async def usage(self, limit: int, skip: int) -> Rows:
        query = sa.select(
            S.name,
            S.category,
            S.uses.label("usage_count"),
            S.bytes.label("total_output_size"),
            S.artifacts,
            sa.case((S.used_at > 0, S.used_at)).label("last_used"),
        )
        if skip >= INTEGER_LIMIT:
            return ()
        order = (S.uses.desc(), S.used_at.desc(), S.name)
        page = sa.select(S.tool_id).order_by(*order).limit(limit).offset(skip)
        rows = await self._database.rows(query.where(S.tool_id.in_(page)).order_by(*order))
        return tuple(_used(dict(row._mapping)) for row in rows)

    async def totals(self, names: Collection[str] = TOTALS) -> Mapping[str, int]:
        wanted = [one for one in _TOTALS if not set(names).isdisjoint(one.selected_columns.keys())]
        numbers: dict[str, int] = {}
        for found in await asyncio.gather(*(self._numbers(wanted[part::AT_ONCE]) for part in range(AT_ONCE))):
            for name, value in found:
                numbers[name] = numbers.get(name, 0) + value
        return numbers

    async def _numbers(self, queries: Sequence[sa.Select[Any]]) -> list[tuple[str, int]]:
        if not queries:
            return []
        async with self._database.read() as connection:
            rows = [(await connection.execute(query)).one() for query in queries]
        return [(name, int(value or 0)) for row in rows for name, value in row._mapping.items()]

    async def _rows(
        self,
        query: sa.Select[Any],
        limit: int,
        skip: int,
        finish: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda row: row,
    ) -> Rows:
        if skip >= INTEGER_LIMIT:
            return ()
        rows = await self._database.rows(query.limit(limit).offset(skip))
        return tuple(finish(dict(row._mapping)) for row in rows)


def _page(where: Sequence[sa.ColumnElement[bool]], limit: int, skip: int) -> sa.Select[tuple[str]]:
    """Ids of a page, so that what is passed over is read from the index alone."""
    return sa.select(T.tool_id).where(*where).order_by(T.category, T.name).limit(limit).offset(skip)


_NOTHING = {"assigned_tools": 0, "active_tools": 0, "total_artifacts": 0, "total_storage_bytes": 0}


async def _on_nodes(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """What is on so many nodes."""
    found: dict[str, dict[str, int]] = {}
    for begin in range(0, len(ids), 500):
        query = (
            sa.select(
                S.target_node_id,
                COUNT.label("assigned_tools"),
                sa.func.sum(sa.case((COUNTED, 1), else_=0)).label("active_tools"),
                sa.cast(sa.func.sum(S.artifacts), sa.BigInteger).label("total_artifacts"),
                sa.cast(sa.func.sum(S.bytes), sa.BigInteger).label("total_storage_bytes"),
            )
            .where(S.target_node_id.in_(ids[begin : begin + 500]))
            .group_by(S.target_node_id)
        )
        for row in await connection.execute(query):
            found[row.target_node_id] = {name: int(row._mapping[name]) for name in _NOTHING}
    return found


def _mean(row: dict[str, Any], total: str, count: str, mean: str) -> dict[str, Any]:
    return row | {mean: row[total] / row[count] if row[count] else 0.0}


def _used(row: dict[str, Any]) -> dict[str, Any]:
    artifacts = row.pop("artifacts")
    return row | {"avg_output_size": row["total_output_size"] / artifacts if artifacts else 0.0}


def _number(name: str, *where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((sa.and_(*where), 1), else_=0)).label(name)


_TWICE = (
    sa.select((COUNT - 1).label("more")).select_from(registry_nodes).group_by(N.node_type, N.address).having(COUNT > 1)
).subquery()
_TOTALS: tuple[Any, ...] = (
    sa.select(
        COUNT.label("total_nodes"),
        _number("active_nodes", N.status == "ACTIVE"),
        _number("nodes_without_tools", ~sa.select(T.tool_id).where(T.target_node_id == N.node_id).exists()),
    ).select_from(registry_nodes),
    sa.select(sa.func.sum(_TWICE.c.more).label("nodes_registered_twice")),
    sa.select(
        COUNT.label("total_tools"),
        _number("active_tools", ENABLED),
        _number("disabled_tools", T.status == ToolStatus.DISABLED.value),
        _number("deprecated_tools", T.status == ToolStatus.DEPRECATED.value),
    ).select_from(tools),
    sa.select(
        sa.func.sum(S.artifacts).label("total_artifacts"), sa.func.sum(S.bytes).label("total_storage_bytes")
    ).select_from(tool_totals),
    sa.select(COUNT.label("tools_without_nodes")).select_from(tools).where(ENABLED, T.target_node_id.is_(None)),
    sa.select(COUNT.label("total_tags")).select_from(tool_tags),
    sa.select(COUNT.label("total_artifacts"), sa.func.sum(A.size_bytes).label("total_storage_bytes"))
    .select_from(artifacts)
    .where(A.created_by_tool_id.is_(None)),
    sa.select(COUNT.label("orphaned_artifacts")).select_from(artifacts).where(ORPHANED),
    sa.select(COUNT.label("large_artifacts")).select_from(artifacts).where(A.size_bytes > LARGE_BYTES),
)
