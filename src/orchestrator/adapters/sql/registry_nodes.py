"""Nodes as the registry of tools shows them, in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import registry_nodes
from orchestrator.adapters.sql.tables import nodes, removed_nodes, workers
from orchestrator.domain.registry_node import (
    RegistryNode,
    RegistryNodeType,
    RegistrySource,
    RegistryStatus,
    SeenNode,
)
from orchestrator.domain.storable import INTEGER_LIMIT, check_storable

N = registry_nodes.c
FOLLOWS = N.source != RegistrySource.REGISTRY.value
SILENT = (RegistrySource.SERVER.value, RegistrySource.MCP.value)  # nobody says that they have gone
AT_ONCE = 500  # rows in one statement


class SqlRegistryNodes:
    """`RegistryNodeStore` on one table, beside those of workers and model servers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, limit: int, skip: int, *, node_type: RegistryNodeType | None = None, status: RegistryStatus | None = None
    ) -> tuple[RegistryNode, ...]:
        if skip >= INTEGER_LIMIT:
            return ()
        query = sa.select(registry_nodes).order_by(N.created_at, N.node_id).limit(limit).offset(skip)
        if node_type is not None:
            query = query.where(N.node_type == node_type.value)
        if status is not None:
            query = query.where(N.status == status.value)
        return await self._nodes(query)

    async def get(self, node_id: str) -> RegistryNode | None:
        found = await self._nodes(sa.select(registry_nodes).where(N.node_id == node_id))
        return found[0] if found else None

    async def put(self, node: RegistryNode) -> None:
        check_storable(node, node.id)
        await self._database.run(self._database.replace(registry_nodes), _row(node))

    async def delete(self, node_id: str) -> bool:
        return await self._database.run(sa.delete(registry_nodes).where(N.node_id == node_id)) > 0

    async def see(self, seen: Mapping[str, SeenNode], now: float) -> None:
        rows = [_row(_new(node_id, node, now)) for node_id, node in seen.items()]
        insert = self._database.upsert(registry_nodes)
        told = {name: insert.excluded[name] for name in ("source", "address", "status", "updated_at")}
        other = sa.or_(*(N[name] != told[name] for name in ("source", "address", "status")))
        upsert = insert.on_conflict_do_update(index_elements=[N.id], set_=told, where=other)
        if rows:
            # In one order, so that two processes never wait for each other.
            await self._database.run(upsert, sorted(rows, key=lambda row: str(row["id"])))

    async def own(self) -> tuple[RegistryNode, ...]:
        mine = sa.select(registry_nodes).where(~FOLLOWS).order_by(N.created_at, N.node_id)
        return await self._nodes(mine)

    async def forget(self, present: Iterable[str], now: float) -> None:
        here = frozenset(present)
        rows = await self._database.rows(sa.select(N.id).where(FOLLOWS))
        away = sorted(row.id for row in rows if row.id not in here)
        for begin in range(0, len(away), AT_ONCE):
            some = N.id.in_(away[begin : begin + AT_ONCE])
            async with self._database.write() as connection:
                # Another process may have registered one just now, so the tables are asked and not memory.
                for gone in (_GONE_WORKER, _GONE_SERVER):
                    await connection.execute(sa.delete(registry_nodes).where(some, gone))
                silent = sa.and_(N.source.in_(SILENT), N.status != RegistryStatus.INACTIVE.value)
                change = sa.update(registry_nodes).where(some, silent)
                await connection.execute(change.values(status=RegistryStatus.INACTIVE.value, updated_at=now))

    async def _nodes(self, query: sa.Select[Any]) -> tuple[RegistryNode, ...]:
        return tuple(_node(row._mapping) for row in await self._database.rows(query))


_GONE_WORKER = sa.and_(
    N.source == RegistrySource.WORKER.value, ~sa.select(workers.c.id).where(workers.c.id == N.id).exists()
)
_GONE_SERVER = sa.and_(
    N.source == RegistrySource.SERVER.value,
    sa.select(removed_nodes.c.id).where(removed_nodes.c.id == N.id).exists(),
    ~sa.select(nodes.c.id).where(nodes.c.id == N.id).exists(),
)


def _new(node_id: str, seen: SeenNode, now: float) -> RegistryNode:
    return RegistryNode(node_id, seen.node_type, seen.address, seen.status, seen.id, seen.source, now, now)


def _row(node: RegistryNode) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "id": node.id,
        "source": node.source.value,
        "node_type": node.node_type.value,
        "address": node.address,
        "status": node.status.value,
        "created_at": node.created_at,
        "updated_at": node.updated_at,
    }


def _node(row: Mapping[Any, Any]) -> RegistryNode:
    return replace(
        RegistryNode(**row),
        node_type=RegistryNodeType(row["node_type"]),
        status=RegistryStatus(row["status"]),
        source=RegistrySource(row["source"]),
    )
