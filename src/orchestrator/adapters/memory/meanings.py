"""Meanings in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from orchestrator.adapters.memory.artifacts import MemoryArtifacts
from orchestrator.adapters.memory.tools import MemoryTools
from orchestrator.domain.searched import artifact_text, tool_text
from orchestrator.domain.text_search import Text
from orchestrator.ports.meanings import Meaning, ThingKind


class MemoryMeanings:
    """`MeaningStore` beside tools and artifacts."""

    def __init__(self, tools: MemoryTools, artifacts: MemoryArtifacts) -> None:
        self._tools = tools
        self._artifacts = artifacts
        self._kept: dict[ThingKind, dict[str, tuple[Meaning, float]]] = {kind: {} for kind in ThingKind}
        self._texts: dict[ThingKind, dict[str, Text]] = {kind: {} for kind in ThingKind}  # those that are settled

    async def pending(self, kind: ThingKind, limit: int) -> tuple[tuple[str, str], ...]:
        kept, texts = self._kept[kind], self._texts[kind]
        changed = [one for one, text in self._now(kind).items() if texts.get(one) != text]
        return tuple((one, kept[one][0].digest if one in kept else "") for one in changed[::-1][:limit])

    async def keep(self, kind: ThingKind, found: Sequence[Meaning], at: float) -> None:
        now = self._now(kind)
        for one in found:
            if one.id in now:
                self._kept[kind][one.id] = (one, at)
        await self.settled(kind, [one.id for one in found])

    async def settled(self, kind: ThingKind, ids: Collection[str]) -> None:
        now = self._now(kind)
        self._texts[kind].update({one: now[one] for one in ids if one in now})

    async def forget_others(self, kind: ThingKind, model: str) -> int:
        others = [one for one, (meaning, _) in self._kept[kind].items() if meaning.model != model]
        for one in others:
            del self._kept[kind][one]
            self._texts[kind].pop(one, None)
        return len(others)

    async def since(self, kind: ThingKind, at: float, limit: int) -> tuple[tuple[Meaning, float], ...]:
        now = self._now(kind)
        found = [pair for one, pair in self._kept[kind].items() if pair[1] >= at and one in now]
        return tuple(sorted(found, key=lambda pair: -pair[1])[:limit])

    async def count(self, kind: ThingKind) -> int:
        now = self._now(kind)
        return sum(one in now for one in self._kept[kind])

    def _now(self, kind: ThingKind) -> Mapping[str, Text]:
        if kind is ThingKind.TOOL:
            return {one: tool_text(tool) for one, tool in self._tools.all.items()}
        return {one: artifact_text(artifact) for one, artifact in self._artifacts.all.items()}
