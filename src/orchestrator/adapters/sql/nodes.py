"""Nodes in SQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import nodes, removed_nodes
from orchestrator.domain.node import AdminState, NodeKind, NodeSource, NodeSpec
from orchestrator.domain.storable import check_storable, is_key


class SqlNodes:
    """`NodeStore` on two tables: nodes, and the ids of removed ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[NodeSpec, ...]:
        rows = await self._database.rows(sa.select(nodes))
        return tuple(sorted((_spec(row) for row in rows), key=lambda spec: spec.id))

    async def put(self, spec: NodeSpec) -> None:
        check_storable(spec, spec.id)
        async with self._database.write() as connection:
            await connection.execute(self._database.replace(nodes), _row(spec))
            await connection.execute(sa.delete(removed_nodes).where(removed_nodes.c.id == spec.id))

    async def delete(self, node_id: str) -> bool:
        if not is_key(node_id):
            return False
        async with self._database.write() as connection:
            deleted = await connection.execute(sa.delete(nodes).where(nodes.c.id == node_id))
            await connection.execute(self._database.add(removed_nodes), {"id": node_id})
        return deleted.rowcount > 0

    async def tombstones(self) -> frozenset[str]:
        return frozenset(row.id for row in await self._database.rows(sa.select(removed_nodes)))


def _row(spec: NodeSpec) -> dict[str, Any]:
    return {
        "id": spec.id,
        "url": spec.url,
        "kind": spec.kind.value,
        "max_concurrency": spec.max_concurrency,
        "api_key": spec.api_key,
        "weight": spec.weight,
        "labels": dict(spec.labels),
        "models": list(spec.models),
        "source": spec.source.value,
        "admin_state": spec.admin_state.value,
        "admin_reason": spec.admin_reason,
        "admin_since": spec.admin_since,
    }


def _spec(row: sa.Row[Any]) -> NodeSpec:
    values = dict(row._mapping)
    return NodeSpec(
        **values
        | {
            "kind": NodeKind(row.kind),
            "models": tuple(row.models),
            "source": NodeSource(row.source),
            "admin_state": AdminState(row.admin_state),
        }
    )
