"""Puts together the search over tools and artifacts."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from orchestrator.adapters.vectors import new_index
from orchestrator.bootstrap.nodes import keep
from orchestrator.ports.store import Storage
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.registry.embedding import OFF, Embedder
from orchestrator.services.registry.meaning import MeaningRules, Meanings
from orchestrator.services.registry.offered import OfferedMeanings
from orchestrator.services.registry.search import Search
from orchestrator.services.tool_calls.catalogue import Catalogue
from orchestrator.settings import Settings


@dataclass(slots=True)
class SearchParts:
    search: Search
    meanings: Meanings
    settings: Settings

    def start(self, stack: AsyncExitStack) -> None:
        """Keeps making vectors until the stack closes."""
        keep(stack, self.meanings.run(asyncio.sleep))

    def adopt(self, settings: Settings) -> None:
        """Changed settings."""
        self.settings = settings


def build_search(settings: Settings, storage: Storage, gateway: Gateway, catalogue: Catalogue) -> SearchParts:
    def rules() -> MeaningRules:
        wanted = parts.settings.tools
        return MeaningRules(wanted.embedding_rate, wanted.embedding_most)

    embedder = Embedder(gateway, lambda: parts.settings.tools.embedding_model or OFF)
    wall = gateway.clock.wall
    offered = OfferedMeanings(catalogue.offered, embedder, new_index)
    meanings = Meanings(storage.meanings, storage.tools, storage.artifacts, embedder, offered, new_index, wall, rules)
    search = Search(catalogue, storage.tools, storage.artifacts, meanings)
    parts = SearchParts(search, meanings, settings)
    return parts
