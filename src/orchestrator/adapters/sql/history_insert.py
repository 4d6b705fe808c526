"""Many rows in one statement: they travel as one JSON text and the database takes it apart, without Python's lock."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from orchestrator.adapters.sql.database import Database

ROWS = "rows"  # the parameter: a JSON list of objects by column name


def fresh(database: Database, columns: Collection[sa.Column[Any]]) -> sa.FromClause:
    """The rows of the parameter, as a table with these columns."""
    if database.dialect == "sqlite":
        item = sa.func.json_each(sa.bindparam(ROWS, type_=sa.Text)).table_valued("value")
        fields = [
            sa.func.json_extract(item.c.value, sa.literal_column(f"'$.{column.name}'"), type_=column.type).label(
                column.name
            )
            for column in columns
        ]
        return sa.select(*fields).select_from(item).subquery("fresh")
    text = sa.cast(sa.bindparam(ROWS, type_=sa.Text), postgresql.JSON)
    typed: list[sa.ColumnClause[Any]] = [sa.column(column.name, column.type) for column in columns]
    return sa.func.json_to_recordset(text).table_valued(*typed, name="fresh").render_derived(with_types=True)


def insert_all(database: Database, table: sa.Table) -> sa.Insert:
    """INSERT of the parameter's rows; the database numbers them."""
    columns = [column for column in table.c if column.name != "id"]
    source = fresh(database, columns)
    return sa.insert(table).from_select([column.name for column in columns], sa.select(*source.c))


def add_all(database: Database, table: sa.Table, span: int, counted: sa.ColumnElement[bool]) -> sa.Insert:
    """INSERT of sums of the parameter's rows: those of one `span` (seconds) and key become one row, which is added to
    the one that is there. `counted` says which rows of the parameter."""
    keys = [column.name for column in table.primary_key if column.name not in {"span", "start"}]
    values = [column.name for column in table.c if not column.primary_key]
    source = fresh(database, [column for column in table.c if column.name != "span"])
    start = source.c.start - source.c.start % sa.literal_column(str(span))
    by = [start, *(source.c[name] for name in keys)]
    sums = [sa.func.sum(source.c[name]) for name in values]
    # In one order in every process: two that add to the same rows wait for each other and do not lock up.
    rows = sa.select(sa.literal_column(str(span)), *by, *sums).where(counted).group_by(*by).order_by(*by)
    into = database.upsert(table).from_select(["span", "start", *keys, *values], rows)
    return into.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: table.c[name] + into.excluded[name] for name in values}
    )
