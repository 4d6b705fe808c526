"""Nodes as the registry of tools shows them, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from orchestrator.adapters.memory.nodes import MemoryNodes
from orchestrator.adapters.memory.workers import MemoryWorkers
from orchestrator.domain.registry_node import (
    RegistryNode,
    RegistryNodeType,
    RegistrySource,
    RegistryStatus,
    SeenNode,
)
from orchestrator.domain.storable import check_storable


class MemoryRegistryNodes:
    """`RegistryNodeStore` in a dict, beside those of workers and model servers."""

    def __init__(self, workers: MemoryWorkers, servers: MemoryNodes) -> None:
        self.all: dict[str, RegistryNode] = {}
        self.forgotten: Callable[[str], None] = lambda node_id: None  # told of every node that goes
        self._workers = workers
        self._servers = servers

    async def page(
        self, limit: int, skip: int, *, node_type: RegistryNodeType | None = None, status: RegistryStatus | None = None
    ) -> tuple[RegistryNode, ...]:
        found = [
            node
            for node in self.all.values()
            if (node_type is None or node.node_type is node_type) and (status is None or node.status is status)
        ]
        return tuple(sorted(found, key=lambda node: (node.created_at, node.node_id))[skip : skip + limit])

    async def get(self, node_id: str) -> RegistryNode | None:
        return self.all.get(node_id)

    async def put(self, node: RegistryNode) -> None:
        check_storable(node, node.id)
        self.all[node.node_id] = node

    async def delete(self, node_id: str) -> bool:
        if self.all.pop(node_id, None) is None:
            return False
        self.forgotten(node_id)
        return True

    async def see(self, seen: Mapping[str, SeenNode], now: float) -> None:
        by_id = {node.id: node for node in self.all.values()}
        for node_id, one in seen.items():
            known = by_id.get(one.id) or RegistryNode(
                node_id, one.node_type, one.address, one.status, one.id, one.source, now, now
            )
            told = replace(known, source=one.source, address=one.address, status=one.status)
            self.all[known.node_id] = told if told == known else replace(told, updated_at=now)

    async def own(self) -> tuple[RegistryNode, ...]:
        mine = [node for node in self.all.values() if node.source is RegistrySource.REGISTRY]
        return tuple(sorted(mine, key=lambda node: (node.created_at, node.node_id)))

    async def forget(self, present: Iterable[str], now: float) -> None:
        here = frozenset(present)
        workers = {worker.id for worker in await self._workers.list()}
        servers = {server.id for server in await self._servers.list()}
        removed = await self._servers.tombstones()
        for node in list(self.all.values()):
            if node.id in here or node.source is RegistrySource.REGISTRY:
                continue
            if node.source is RegistrySource.WORKER:
                gone = node.id not in workers
            elif node.source is RegistrySource.SERVER:
                gone = node.id in removed and node.id not in servers
            else:
                gone = False
            if gone:
                await self.delete(node.node_id)
            elif node.source is not RegistrySource.WORKER and node.status is not RegistryStatus.INACTIVE:
                self.all[node.node_id] = replace(node, status=RegistryStatus.INACTIVE, updated_at=now)
