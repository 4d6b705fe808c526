"""Search over tools and artifacts, by words and by meaning."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.artifact import Artifact
from orchestrator.domain.errors import Conflict, Overload, UpstreamError
from orchestrator.domain.rank_fusion import fused
from orchestrator.domain.searched import artifact_text, tool_text
from orchestrator.domain.text_search import TextSearch, read_search, relevance
from orchestrator.domain.tool import Tool, ToolOrder, ToolQuery
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery, ArtifactStore
from orchestrator.ports.meanings import ThingKind
from orchestrator.ports.tools import ToolStore
from orchestrator.services.registry.meaning import Meanings
from orchestrator.services.tool_calls.catalogue import Catalogue

FUSED = 3  # times as many as are wanted are taken from each of two rankings
Key = tuple[ThingKind, str]


class SearchMode(StrEnum):
    TEXT = "text"
    MEANING = "meaning"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Hit:
    """Exactly one of `tool` and `artifact`. What `score` says depends on the mode, see `Search.find`."""

    kind: ThingKind
    id: str
    score: float
    tool: Tool | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """`mode` is how it was searched; `note` says why not by meaning where that was wanted."""

    hits: tuple[Hit, ...]
    mode: SearchMode
    model: str = ""
    note: str = ""


class Search:
    """The use case. Raises StorageUnavailable."""

    def __init__(self, catalogue: Catalogue, tools: ToolStore, artifacts: ArtifactStore, meanings: Meanings) -> None:
        self._catalogue = catalogue
        self._tools = tools
        self._artifacts = artifacts
        self._meanings = meanings

    async def find(self, question: str, kinds: Collection[ThingKind], mode: SearchMode, limit: int) -> Found:
        """The best first. Scores: by words from 1 (all in the name) to 1/3 (none); by meaning the cosine; of both the
        sum of reciprocal ranks, and words alone where there is no embedding model or it does not answer. Raises
        Conflict, UpstreamError and Overload when only meaning is wanted and cannot be had."""
        if mode is SearchMode.TEXT:
            return Found(tuple((await self._by_words(question, kinds, limit))[:limit]), mode)
        if mode is SearchMode.MEANING:
            hits = await self._by_meaning(question, kinds, limit)
            return Found(tuple(hits[:limit]), mode, await self._meanings.model())
        words = await self._by_words(question, kinds, limit * FUSED)
        try:
            near = await self._by_meaning(question, kinds, limit * FUSED)
        except (Conflict, UpstreamError, Overload) as error:
            return Found(tuple(words[:limit]), SearchMode.TEXT, note=error.message)
        return Found(_fused(words, near)[:limit], mode, await self._meanings.model())

    async def _by_words(self, question: str, kinds: Collection[ThingKind], limit: int) -> list[Hit]:
        search = read_search(question)
        if search is None:
            return []
        hits: list[Hit] = []
        if ThingKind.TOOL in kinds:
            query = ToolQuery(text=question, order=ToolOrder.RELEVANCE)
            for tool in await self._catalogue.page(query, limit, 0):
                hits.append(Hit(ThingKind.TOOL, tool.tool_id, _score(search, tool_text(tool).title), tool=tool))
        if ThingKind.ARTIFACT in kinds:
            wanted = ArtifactQuery(text=question, order=ArtifactOrder.RELEVANCE, limit=limit)
            for one in await self._artifacts.page(wanted):
                hits.append(Hit(ThingKind.ARTIFACT, one.id, _score(search, artifact_text(one).title), artifact=one))
        return sorted(hits, key=lambda hit: -hit.score)

    async def _by_meaning(self, question: str, kinds: Collection[ThingKind], limit: int) -> list[Hit]:
        vector = await self._meanings.vector(question)
        hits: list[Hit] = []
        for kind in ThingKind:
            if kind in kinds:
                hits += await self._things(kind, await self._meanings.nearest(kind, vector, limit))
        if ThingKind.TOOL in kinds:
            for tool, score in await self._meanings.nearest_offered(vector, limit):
                hits.append(Hit(ThingKind.TOOL, tool.tool_id, score, tool=tool))
        return sorted(hits, key=lambda hit: -hit.score)

    async def _things(self, kind: ThingKind, near: Sequence[tuple[str, float]]) -> list[Hit]:
        """Those that are still there."""
        if kind is ThingKind.ARTIFACT:
            query = ArtifactQuery(ids=tuple(one for one, _ in near), limit=len(near))
            artifacts = {one.id: one for one in await self._artifacts.page(query)} if near else {}
            return [Hit(kind, one, score, artifact=artifacts[one]) for one, score in near if one in artifacts]
        tools = [(await self._tools.get(one), score) for one, score in near]
        return [Hit(kind, tool.tool_id, score, tool=tool) for tool, score in tools if tool is not None]


def _score(search: TextSearch, title: Sequence[str]) -> float:
    cost, _ = relevance(search, title)
    return 1 - cost / (3 * len(search.phrases)) if search.phrases else 0.0


def _fused(words: Sequence[Hit], near: Sequence[Hit]) -> tuple[Hit, ...]:
    by_key: dict[Key, Hit] = {(hit.kind, hit.id): hit for hit in (*near, *words)}
    ranked = fused([[(hit.kind, hit.id) for hit in ranking] for ranking in (words, near)])
    return tuple(Hit(key[0], key[1], score, by_key[key].tool, by_key[key].artifact) for key, score in ranked)
