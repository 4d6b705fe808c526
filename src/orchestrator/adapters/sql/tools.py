"""Tools in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.few import few, given
from orchestrator.adapters.sql.registry_tables import registry_nodes, tool_tags, tools
from orchestrator.adapters.sql.text_tables import tool_texts
from orchestrator.adapters.sql.texts import TextTable
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.searched import tool_text, tool_words
from orchestrator.domain.storable import INTEGER_LIMIT, is_text
from orchestrator.domain.text_search import TextSearch, read_search
from orchestrator.domain.tool import (
    ApprovalRule,
    Execution,
    SideEffect,
    Tool,
    ToolKind,
    ToolOrder,
    ToolQuery,
    ToolSource,
    ToolStatus,
    check_tool,
    folded,
)

T = tools.c
ORDERS: dict[ToolOrder, tuple[str, ...]] = {
    ToolOrder.CREATED: ("created_at", "tool_id"),
    ToolOrder.RELEVANCE: ("created_at", "tool_id"),  # where there is no text
    ToolOrder.NAME: ("name",),
    ToolOrder.CATEGORY: ("category", "name"),
}
TAGS = tool_tags.c
ENABLED = T.status == ToolStatus.ENABLED.value


class SqlTools:
    """`ToolStore` on two tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._texts = TextTable(database, tool_texts, "tool_id")

    async def add(self, tool: Tool) -> None:
        check_tool(tool)
        async with self._database.write() as connection:
            await self._check(connection, tool)
            await connection.execute(sa.insert(tools), _row(tool))
            await self._texts.write(connection, tool.tool_id, tool_text(replace(tool, tags=())))

    async def get(self, tool_id: str) -> Tool | None:
        async with self._database.read() as connection:
            found = await self._read(connection, sa.select(tools).where(T.tool_id == tool_id))
        return found[0] if found else None

    async def page(self, wanted: ToolQuery, limit: int, skip: int) -> tuple[Tool, ...]:
        if not _storable(wanted) or skip >= INTEGER_LIMIT:
            return ()
        async with self._database.read() as connection:
            found = read_search(wanted.text)
            if found is not None and wanted.order is ToolOrder.RELEVANCE:
                return await self._ranked(connection, wanted, found, limit, skip)
            search = await self._search(connection, wanted)
            return await self._read(connection, self._listed(wanted, search, limit, skip))

    def _listed(self, wanted: ToolQuery, search: list[sa.ColumnElement[bool]], limit: int, skip: int) -> sa.Select[Any]:
        order = _order(T, wanted.order)
        query = sa.select(tools).where(*_plain(T, wanted), *search).order_by(*order).limit(limit).offset(skip)
        if not (skip or search):
            return query
        ids = query.with_only_columns(T.tool_id).subquery()  # what is passed over is read from the index alone
        return sa.select(tools).join(ids, ids.c.tool_id == T.tool_id).order_by(*order)

    async def _ranked(
        self, connection: AsyncConnection, wanted: ToolQuery, search: TextSearch, limit: int, skip: int
    ) -> tuple[Tool, ...]:
        words = await self._texts.found(connection, search)
        others = (*await self._search(connection, replace(wanted, text="")), *_plain(T, wanted))
        fitting = await self._texts.among(connection, words, tools, others)
        ids = await self._texts.ranked(connection, search, fitting, limit, skip)
        place = {one: at for at, one in enumerate(ids)}
        read = [
            one
            for begin in range(0, len(ids), 500)
            for one in await self._read(connection, sa.select(tools).where(T.tool_id.in_(ids[begin : begin + 500])))
        ]
        return tuple(sorted(read, key=lambda tool: place[tool.tool_id]))

    async def count(self, wanted: ToolQuery) -> int:
        if not _storable(wanted):
            return 0
        async with self._database.read() as connection:
            search = read_search(wanted.text)
            if search is not None and wanted == ToolQuery(text=wanted.text, order=wanted.order):
                return await self._texts.count(connection, search)
            conditions = (*_plain(T, wanted), *await self._search(connection, wanted, all_of_them=True))
            counted = sa.select(sa.func.count()).select_from(tools).where(*conditions)
            return int((await connection.execute(counted)).scalar_one())

    async def save(self, tool: Tool) -> bool:
        check_tool(tool)
        async with self._database.write() as connection:
            await self._check(connection, tool)
            change = sa.update(tools).where(T.tool_id == tool.tool_id).values(**_row(tool))
            there = (await connection.execute(change)).rowcount > 0
            if there:
                await self._write_text(connection, tool.tool_id)
            return there

    async def delete(self, tool_id: str) -> bool:
        return await self._database.run(sa.delete(tools).where(T.tool_id == tool_id)) > 0

    async def tag(self, tool_id: str, name: str, at: float | None) -> bool:
        if not is_text(name):
            raise InvalidRequest("a tag holds a character that cannot be stored")
        tags = tool_tags.c
        async with self._database.write() as connection:
            if at is None:
                gone = sa.delete(tool_tags).where(tags.tool_id == tool_id, tags.tag_name == name)
                found = (await connection.execute(gone)).rowcount > 0
                if found:
                    await self._write_text(connection, tool_id)
                return found
            there = sa.select(T.tool_id).where(T.tool_id == tool_id).with_for_update(read=True, key_share=True)
            if not (await connection.execute(there)).first():
                return False
            row = {"tool_id": tool_id, "tag_name": name, "folded": folded(name), "created_at": at}
            await connection.execute(self._database.add(tool_tags), row)
            await self._write_text(connection, tool_id)
        return True

    async def _write_text(self, connection: AsyncConnection, tool_id: str) -> None:
        """What is searched of a tool, as its rows are now."""
        about = sa.select(T.name, T.category, T.description).where(T.tool_id == tool_id)
        row = (await connection.execute(about)).one()
        tags = (await tags_of(connection, [tool_id])).get(tool_id, ())
        await self._texts.write(connection, tool_id, tool_words(row.name, row.category, row.description, tags))

    async def _check(self, connection: AsyncConnection, tool: Tool) -> None:
        """In words what the constraints would refuse without."""
        same = sa.select(T.tool_id).where(T.name == tool.name, T.tool_id != tool.tool_id)
        if (await connection.execute(same)).first():
            raise Conflict(f"There is a tool with the name '{tool.name}'.", details={"field": "name"})
        if tool.target_node_id is not None:
            node = sa.select(registry_nodes.c.node_id).where(registry_nodes.c.node_id == tool.target_node_id)
            if not (await connection.execute(node)).first():
                raise InvalidRequest("target_node_id: there is no such node", details={"field": "target_node_id"})

    async def _read(self, connection: AsyncConnection, query: sa.Select[Any]) -> tuple[Tool, ...]:
        """Tools with their tags, in the order of the query."""
        rows = (await connection.execute(query)).all()
        labels = await tags_of(connection, [row.tool_id for row in rows])
        return tuple(_tool(row._mapping, labels.get(row.tool_id, ())) for row in rows)

    async def _search(
        self, connection: AsyncConnection, wanted: ToolQuery, *, all_of_them: bool = False
    ) -> list[sa.ColumnElement[bool]]:
        """What is not answered by an index of the table's own columns. `all_of_them`: not only some are wanted."""
        found: list[sa.ColumnElement[bool]] = []
        if wanted.tag is not None:
            tagged = sa.select(TAGS.tool_id).where(TAGS.folded.contains(folded(wanted.tag), autoescape=True))
            here = T.tool_id.in_(tagged) if all_of_them else tagged.where(TAGS.tool_id == T.tool_id).exists()
            found.append(await self._narrowed(connection, tagged, here))
        for column, name in ((T.input_schema, wanted.input_property), (T.output_schema, wanted.output_property)):
            if name is not None:
                has = has_property(self._database.dialect, column, name)
                found.append(await self._narrowed(connection, sa.select(T.tool_id).where(*found, has), has))
        search = read_search(wanted.text)
        if search is not None:
            words = await self._texts.found(connection, search)
            found.append(self._texts.of(words, T.tool_id, all_of_them=all_of_them))
        return found

    async def _narrowed(
        self, connection: AsyncConnection, hits: sa.Select[Any], here: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        """`here`, or where there are few hits, these."""
        ids = await few(connection, hits)
        return here if ids is None else T.tool_id.in_(given(self._database.dialect, ids, T.tool_id))


def _order(columns: Any, order: ToolOrder) -> list[sa.ColumnElement[Any]]:
    found = [columns[name] for name in ORDERS[order]]
    return [column.desc() for column in found] if order is ToolOrder.RELEVANCE else found


def _storable(wanted: ToolQuery) -> bool:
    """Whether a tool can be like that."""
    if wanted.source not in (None, ToolSource.REGISTRY):
        return False
    texts = (wanted.name, wanted.category, wanted.tag, wanted.input_property, wanted.output_property)
    return all(is_text(text) for text in texts if text is not None)


def _plain(columns: Any, wanted: ToolQuery) -> list[sa.ColumnElement[bool]]:
    """The other conditions, on the columns of the table or of a part of it."""
    status = wanted.status.value if wanted.status is not None else None
    kind = wanted.kind.value if wanted.kind is not None else None
    side_effect = wanted.side_effect.value if wanted.side_effect is not None else None
    pairs = (
        (columns.kind, kind),
        (columns.side_effect, side_effect),
        (columns.status, status),
        (columns.name, wanted.name),
        (columns.category, wanted.category),
        (columns.target_node_id, wanted.node),
    )
    found = [column == value for column, value in pairs if value is not None]
    return [*found, columns.target_node_id.is_(None)] if wanted.unplaced else found


def has_property(dialect: str, column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a schema has the property at its top. PostgreSQL finds it by the GIN index on the properties; SQLite
    reads the text of all schemas, and looks closer at those that have the name somewhere."""
    if dialect == "postgresql":
        within = column.op("->")(sa.literal_column("'properties'"))  # as the index has it
        is_object = sa.func.jsonb_typeof(within) == "object"  # an array would have the name, too
        return sa.and_(within.op("?", is_comparison=True)(sa.literal(name, sa.Text)), is_object)
    quoted = json.dumps(name)
    properties = sa.func.json_each(column, "$.properties").table_valued("key")
    inside = sa.select(sa.literal(1)).select_from(properties).where(properties.c.key == name).exists()
    return sa.and_(sa.func.instr(column, sa.literal(quoted, sa.Text)) > 0, inside)


async def tags_of(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """The tags of so many tools, in the order of their names."""
    found: dict[str, list[str]] = {}
    if ids:
        some = TAGS.tool_id.in_(given(connection.dialect.name, ids, TAGS.tool_id))
        for tool_id, name in await connection.execute(sa.select(TAGS.tool_id, TAGS.tag_name).where(some)):
            found.setdefault(tool_id, []).append(name)
    return {tool_id: tuple(sorted(names)) for tool_id, names in found.items()}


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
        "execution": asdict(tool.execution) if tool.execution is not None else None,
        "kind": tool.execution.kind.value if tool.execution is not None else None,
        "side_effect": tool.execution.side_effect.value if tool.execution is not None else None,
    }


def _tool(row: Mapping[Any, Any], tags: tuple[str, ...]) -> Tool:
    fields = {name: value for name, value in row.items() if name not in ("kind", "side_effect")}
    fields |= {"status": ToolStatus(row["status"]), "execution": _execution(row["execution"])}
    return Tool(**fields, tags=tags)


def _execution(told: Mapping[str, Any] | None) -> Execution | None:
    if told is None:
        return None
    kind, side_effect = ToolKind(told["kind"]), SideEffect(told["side_effect"])
    return Execution(
        **dict(told) | {"kind": kind, "side_effect": side_effect, "approval": ApprovalRule(told["approval"])}
    )
