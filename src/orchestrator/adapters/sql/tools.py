"""Tools in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import registry_nodes, tool_tags, tools
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.storable import INTEGER_LIMIT, is_text
from orchestrator.domain.tool import Tool, ToolOrder, ToolQuery, ToolStatus, check_tool, folded

T = tools.c
ORDERS: dict[ToolOrder, tuple[str, ...]] = {
    ToolOrder.CREATED: ("created_at", "tool_id"),
    ToolOrder.NAME: ("name",),
    ToolOrder.CATEGORY: ("category", "name"),
}
NARROW = (T.tool_id, T.name, T.category, T.status, T.target_node_id, T.created_at)
ENABLED = T.status == ToolStatus.ENABLED.value


class SqlTools:
    """`ToolStore` on two tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tool: Tool) -> None:
        check_tool(tool)
        async with self._database.write() as connection:
            await self._check(connection, tool)
            await connection.execute(sa.insert(tools), _row(tool))

    async def get(self, tool_id: str) -> Tool | None:
        found = await self._read(sa.select(tools).where(T.tool_id == tool_id))
        return found[0] if found else None

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        if not _storable(wanted) or skip >= INTEGER_LIMIT:
            return ()
        order = [T[name] for name in ORDERS[wanted.order]]
        search = self._search(wanted)
        query = sa.select(tools).where(*_plain(T, wanted)).order_by(*order).limit(limit).offset(skip)
        if search:
            # Found first and put in order then: a planner that expects many hits would go through all tools in order.
            hits = sa.select(*NARROW).where(*search).cte("hits").prefix_with("MATERIALIZED")
            page = sa.select(hits.c.tool_id).where(*_plain(hits.c, wanted))
            ids = page.order_by(*(hits.c[name] for name in ORDERS[wanted.order])).limit(limit).offset(skip).subquery()
        elif skip:  # what is passed over is read from the index alone
            ids = query.with_only_columns(T.tool_id).subquery()
        else:
            return await self._read(query)
        return await self._read(sa.select(tools).join(ids, ids.c.tool_id == T.tool_id).order_by(*order))

    async def count(self, wanted: ToolQuery) -> int:
        if not _storable(wanted):
            return 0
        conditions = (*_plain(T, wanted), *self._search(wanted))
        [row] = await self._database.rows(sa.select(sa.func.count()).select_from(tools).where(*conditions))
        return int(row[0])

    async def save(self, tool: Tool) -> bool:
        check_tool(tool)
        async with self._database.write() as connection:
            await self._check(connection, tool)
            change = sa.update(tools).where(T.tool_id == tool.tool_id).values(**_row(tool))
            return (await connection.execute(change)).rowcount > 0

    async def delete(self, tool_id: str) -> bool:
        return await self._database.run(sa.delete(tools).where(T.tool_id == tool_id)) > 0

    async def tag(self, tool_id: str, name: str, at: float | None) -> bool:
        if not is_text(name):
            raise InvalidRequest("a tag holds a character that cannot be stored")
        tags = tool_tags.c
        async with self._database.write() as connection:
            if at is None:
                gone = sa.delete(tool_tags).where(tags.tool_id == tool_id, tags.tag_name == name)
                return (await connection.execute(gone)).rowcount > 0
            there = sa.select(T.tool_id).where(T.tool_id == tool_id).with_for_update(read=True, key_share=True)
            if not (await connection.execute(there)).first():
                return False
            row = {"tool_id": tool_id, "tag_name": name, "folded": folded(name), "created_at": at}
            await connection.execute(self._database.add(tool_tags), row)
        return True

    async def _check(self, connection: AsyncConnection, tool: Tool) -> None:
        """In words what the constraints would refuse without."""
        same = sa.select(T.tool_id).where(T.name == tool.name, T.tool_id != tool.tool_id)
        if (await connection.execute(same)).first():
            raise Conflict(f"There is a tool with the name '{tool.name}'.", details={"field": "name"})
        if tool.target_node_id is not None:
            node = sa.select(registry_nodes.c.node_id).where(registry_nodes.c.node_id == tool.target_node_id)
            if not (await connection.execute(node)).first():
                raise InvalidRequest("target_node_id: there is no such node", details={"field": "target_node_id"})

    async def _read(self, query: sa.Select[Any]) -> tuple[Tool, ...]:
        """Tools with their tags, in the order of the query."""
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            labels = await tags_of(connection, [row.tool_id for row in rows])
        return tuple(_tool(row._mapping, labels.get(row.tool_id, ())) for row in rows)

    def _search(self, wanted: ToolQuery) -> list[sa.ColumnElement[bool]]:
        """What is not answered by an index of the table's own columns."""
        found: list[sa.ColumnElement[bool]] = []
        if wanted.tag is not None:
            found.append(T.tool_id.in_(_tagged(wanted.tag)))
        for column, name in ((T.input_schema, wanted.input_property), (T.output_schema, wanted.output_property)):
            if name is not None:
                found.append(has_property(self._database.dialect, column, name))
        return found + [_about(word) for word in wanted.words]


def _storable(wanted: ToolQuery) -> bool:
    """Whether a tool can be like that."""
    texts = (wanted.name, wanted.category, wanted.tag, wanted.input_property, wanted.output_property, *wanted.words)
    return all(is_text(text) for text in texts if text is not None)


def _plain(columns: Any, wanted: ToolQuery) -> list[sa.ColumnElement[bool]]:
    """The other conditions, on the columns of the table or of a part of it."""
    status = wanted.status.value if wanted.status is not None else None
    pairs = (
        (columns.status, status),
        (columns.name, wanted.name),
        (columns.category, wanted.category),
        (columns.target_node_id, wanted.node),
    )
    found = [column == value for column, value in pairs if value is not None]
    return [*found, columns.target_node_id.is_(None)] if wanted.unplaced else found


def has_property(dialect: str, column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a schema has the property at its top. PostgreSQL finds it by the GIN index on the column; SQLite reads
    the text of all schemas, and looks closer at those that have the name somewhere."""
    quoted = json.dumps(name)
    if dialect == "postgresql":
        path = f"strict $.properties.{quoted}"
        return column.op("@?", is_comparison=True)(sa.cast(sa.literal(path, sa.Text), JSONPATH))
    properties = sa.func.json_each(column, "$.properties").table_valued("key")
    inside = sa.select(sa.literal(1)).select_from(properties).where(properties.c.key == name).exists()
    return sa.and_(sa.func.instr(column, sa.literal(quoted, sa.Text)) > 0, inside)


async def tags_of(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """The tags of so many tools, in the order of their names."""
    found: dict[str, list[str]] = {}
    for begin in range(0, len(ids), 500):
        some = tool_tags.c.tool_id.in_(ids[begin : begin + 500])
        query = sa.select(tool_tags.c.tool_id, tool_tags.c.tag_name).where(some).order_by(tool_tags.c.tag_name)
        for row in await connection.execute(query):
            found.setdefault(row.tool_id, []).append(row.tag_name)
    return {tool_id: tuple(names) for tool_id, names in found.items()}


def _tagged(part: str) -> sa.Select[Any]:
    return sa.select(tool_tags.c.tool_id).where(tool_tags.c.folded.contains(folded(part), autoescape=True))


def _about(word: str) -> sa.ColumnElement[bool]:
    small = word.lower()
    texts = [sa.func.lower(column).contains(small, autoescape=True) for column in (T.name, T.category, T.description)]
    return sa.or_(*texts, T.tool_id.in_(_tagged(word)))


def _row(tool: Tool) -> dict[str, Any]:
    return {
        "tool_id": tool.tool_id,
        "name": tool.name,
        "description": tool.description,
        "category": tool.category,
        "version": tool.version,
        "status": tool.status.value,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "target_node_id": tool.target_node_id,
        "created_at": tool.created_at,
        "updated_at": tool.updated_at,
        "put_out": tool.put_out,
    }


def _tool(row: Mapping[Any, Any], tags: tuple[str, ...]) -> Tool:
    return Tool(**dict(row) | {"status": ToolStatus(row["status"])}, tags=tags)
