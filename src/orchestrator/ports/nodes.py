"""The durable list of nodes."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.node import NodeSpec


class NodeStore(Protocol):
    """Nodes as registered, and which ones were removed on purpose."""

    async def list(self) -> tuple[NodeSpec, ...]:
        """All nodes, by id."""

    async def put(self, spec: NodeSpec) -> None:
        """Adds or replaces a node, and lifts its tombstone. `spec.api_key` is kept as it is given."""

    async def delete(self, node_id: str) -> bool:
        """Removes a node and leaves a tombstone, so that neither discovery nor demo brings it back at the next start.

        Returns whether it was stored. The tombstone is left in both cases: a discovered node need not be stored.
        """

    async def tombstones(self) -> frozenset[str]:
        """Ids of the nodes that were removed and not put again."""
