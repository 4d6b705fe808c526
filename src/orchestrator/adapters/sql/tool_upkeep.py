"""What becomes of tools and artifacts when nodes and tools change, in SQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.artifact_tables import artifacts
from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import registry_nodes, tools
from orchestrator.adapters.sql.tools import ENABLED, T
from orchestrator.domain.tool import STEP, ToolStatus

A = artifacts.c
# Of no tool, and of nothing else of ours either: the results of tasks are nobody's rubbish.
MAKERS = (A.created_by_tool_id, A.task_id, A.run_id, A.agent_id, A.call_id)
ORPHANED = sa.and_(*(column.is_(None) for column in MAKERS))


class SqlToolUpkeep:
    """`ToolUpkeep`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_out(self, now: float) -> tuple[str, ...]:
        nodes = sa.select(registry_nodes.c.node_id).where(registry_nodes.c.status != "ACTIVE")
        here = (ENABLED, T.target_node_id.in_(nodes))
        return await self._change(here, now, status=ToolStatus.DISABLED.value, put_out=True)

    async def rekindle(self, now: float) -> tuple[str, ...]:
        nodes = sa.select(registry_nodes.c.node_id).where(registry_nodes.c.status == "ACTIVE")
        here = (T.status == ToolStatus.DISABLED.value, T.put_out, T.target_node_id.in_(nodes))
        return await self._change(here, now, status=ToolStatus.ENABLED.value, put_out=False)

    async def orphans(self, limit: int) -> tuple[str, ...]:
        rows = await self._database.rows(sa.select(A.artifact_id).where(ORPHANED).limit(limit))
        return tuple(row.artifact_id for row in rows)

    async def _change(self, where: tuple[sa.ColumnElement[bool], ...], now: float, **values: Any) -> tuple[str, ...]:
        async with self._database.read() as connection:  # mostly there are none: those looks shall not write
            if not (await connection.execute(sa.select(T.tool_id).where(*where).limit(1))).first():
                return ()
        later = sa.case((T.updated_at >= now, T.updated_at + STEP), else_=now)
        change = sa.update(tools).where(*where).values(**values, updated_at=later).returning(T.name)
        async with self._database.write() as connection:
            return tuple(sorted((await connection.execute(change)).scalars()))
