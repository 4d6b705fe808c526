"""The UUIDs, types and statuses of nodes, as the registry of tools shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from orchestrator.domain.registry_node import RegistryNode, RegistryNodeType, RegistryStatus, SeenNode


class RegistryNodeStore(Protocol):
    """One list of all nodes. Those of workers and model servers follow what was last seen of them."""

    async def page(
        self, limit: int, skip: int, *, node_type: RegistryNodeType | None = None, status: RegistryStatus | None = None
    ) -> tuple[RegistryNode, ...]:
        """Nodes in the order in which they came."""

    async def get(self, node_id: str) -> RegistryNode | None:
        """By the UUID."""

    async def put(self, node: RegistryNode) -> None:
        """Adds or replaces a node."""

    async def delete(self, node_id: str) -> bool:
        """Whether it was there. Tools on it are on no node then."""

    async def see(self, seen: Mapping[str, SeenNode], now: float) -> None:
        """Takes over address, status and source. Keys are UUIDs for those that have no row yet, by `SeenNode.id`;
        another process may give one its UUID first, which then counts."""

    async def own(self) -> tuple[RegistryNode, ...]:
        """Those that only the registry knows."""

    async def forget(self, present: Iterable[str], now: float) -> None:
        """What becomes of nodes of workers and servers whose ids are not `present`: gone when the worker is no longer
        stored or an operator removed the model server, else inactive."""
