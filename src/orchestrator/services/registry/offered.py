"""What tools mean that are not in the registry (built-in ones, those of the configuration and of MCP servers): vectors
in memory, which each process makes anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from orchestrator.domain.tool import Tool
from orchestrator.ports.meanings import VectorIndex
from orchestrator.services.registry.embedding import BATCH, Embedder, meaning_text


@dataclass(frozen=True, slots=True)
class _Made:
    text: str
    vector: bytes | None  # None: the model refuses the text


class OfferedMeanings:
    """Not for two that work at the same time."""

    def __init__(
        self, tools: Callable[[], Mapping[str, Tool]], embedder: Embedder, new_index: Callable[[int], VectorIndex]
    ) -> None:
        """`tools` are all of them, by keys of their own."""
        self._tools = tools
        self._embedder = embedder
        self._new_index = new_index
        self._model = ""
        self._most = 0
        self._made: dict[str, _Made] = {}
        self._index: VectorIndex | None = None  # none before there is something to keep: to import numpy takes time

    async def work(self, model: str, most: int) -> int:
        """Makes the vectors of one batch, of `most` tools at most; how many. Raises errors as of `Embedder.embed`."""
        if model != self._model:
            self._made = {}
        texts = {key: meaning_text(tool) for key, tool in islice(self._tools().items(), most)}
        if model != self._model or most != self._most or self._made.keys() - texts.keys():
            await self._begin(model, most, texts)
        pending = [key for key, text in texts.items() if key not in self._made or self._made[key].text != text][:BATCH]
        if pending and self._index is not None:
            vectors = await self._embedder.each(model, [texts[key] for key in pending])
            self._made |= {key: _Made(texts[key], one) for key, one in zip(pending, vectors, strict=True)}
            await self._put(self._index, pending)
        return len(pending)

    async def nearest(self, model: str, question: bytes, limit: int) -> list[tuple[Tool, float]]:
        """Tools with the cosine, the nearest first."""
        if model != self._model or self._index is None:
            return []
        found = await asyncio.to_thread(self._index.nearest, question, limit)
        tools = self._tools()
        return [(tools[key], score) for key, score in found if key in tools]

    async def _begin(self, model: str, most: int, texts: Mapping[str, str]) -> None:
        """With an index that has nothing of tools that are gone."""
        self._made = {key: one for key, one in self._made.items() if key in texts}
        index = self._new_index(most)
        await self._put(index, self._made)
        self._index, self._model, self._most = index, model, most

    async def _put(self, index: VectorIndex, keys: list[str] | Mapping[str, _Made]) -> None:
        found = [(key, self._made[key].vector) for key in keys]
        await asyncio.to_thread(index.put, [(key, vector) for key, vector in found if vector is not None])
