"""Nodes that nobody registered: embedded engines, discovered servers, demo nodes. They live as long as this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.domain.node import NodeSpec
from orchestrator.ports.nodes import NodeStore
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.fleet.registry import Registry


class Guests:
    """Takes them in, with what an operator said about them earlier."""

    def __init__(self, fleet: Fleet, registry: Registry, store: NodeStore) -> None:
        self._fleet = fleet
        self._registry = registry
        self._store = store
        self._known: Mapping[str, NodeSpec] = {}

    async def load(self) -> None:
        """Reads what the database remembers of earlier guests."""
        self._known = {spec.id: spec for spec in await self._store.list()}

    async def removed(self) -> frozenset[str]:
        """Ids that an operator removed, and that must not come back by themselves."""
        return await self._registry.tombstones()

    def take(self, spec: NodeSpec) -> FleetNode:
        """Adds a node, or moves one to a new URL. What an operator changed about it, now or in an earlier process,
        stays: its state, concurrency, weight and labels."""
        node = self._fleet.get(spec.id)
        known = node.spec if node is not None else self._known.get(spec.id)
        if known is not None:
            spec = replace(
                known, url=spec.url, api_key=spec.api_key, kind=spec.kind, models=spec.models, source=spec.source
            )
        return self._registry.adopt(spec)
