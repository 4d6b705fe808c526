"""Nodes in memory."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain.node import NodeSpec
from orchestrator.domain.storable import check_storable, is_key


class MemoryNodes:
    """`NodeStore` in a dict."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeSpec] = {}
        self._removed: set[str] = set()

    async def list(self) -> tuple[NodeSpec, ...]:
        return tuple(_copy(self._nodes[node_id]) for node_id in sorted(self._nodes))

    async def put(self, spec: NodeSpec) -> None:
        check_storable(spec, spec.id)
        self._nodes[spec.id] = _copy(spec)
        self._removed.discard(spec.id)

    async def delete(self, node_id: str) -> bool:
        if not is_key(node_id):
            return False
        self._removed.add(node_id)
        return self._nodes.pop(node_id, None) is not None

    async def tombstones(self) -> frozenset[str]:
        return frozenset(self._removed)


def _copy(spec: NodeSpec) -> NodeSpec:
    return replace(spec, labels=dict(spec.labels))
