"""How a condition is answered that no index in the order of the page can answer.

Few hits are looked up first and then put in order. When there are many, going through the rows in the order of the page
soon finds enough of them, and the condition is looked at for each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

FEW = 5_000


async def few(connection: AsyncConnection, hits: sa.Select[Any]) -> list[Any] | None:
    """The values of the first column; None when there are many."""
    found = list((await connection.execute(hits.limit(FEW + 1))).scalars())
    return found if len(found) <= FEW else None


def given(dialect: str, values: Sequence[Any], column: sa.Column[Any]) -> sa.Select[Any]:
    """Values of a column, as one parameter."""
    if dialect == "sqlite":
        listed = sa.func.json_each(json.dumps(values)).table_valued("value")
        return sa.select(listed.c.value)
    return sa.select(sa.func.unnest(sa.cast(list(values), sa.ARRAY(column.type))))
