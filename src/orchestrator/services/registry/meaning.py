"""What tools and artifacts mean: vectors of their names and descriptions, made in the background, and the nearest to a
question."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.artifact import Artifact
from orchestrator.domain.errors import Conflict, OrchestratorError
from orchestrator.domain.tool import Tool
from orchestrator.ports.artifacts import ArtifactQuery, ArtifactStore
from orchestrator.ports.meanings import Meaning, MeaningStore, ThingKind, VectorIndex
from orchestrator.ports.tools import ToolStore
from orchestrator.services.registry.embedding import BATCH, TEXT_LIMIT, Embedder, meaning_text
from orchestrator.services.registry.offered import OfferedMeanings

LOOK_SECONDS = 5.0  # between two looks, where nothing is to be done
FAILED_SECONDS = 30.0  # after a failure
MISSED_SECONDS = 600.0  # without a model, until another one is taken by itself and all vectors are made again
OVERLAP = 10.0  # seconds by which the clocks of two replicas may differ
_log = logging.getLogger("orchestrator.search")


@dataclass(frozen=True, slots=True)
class MeaningRules:
    """`rate`: texts in a second at most. `most`: vectors of each kind at most."""

    rate: float = 20.0
    most: int = 20_000


class _Loaded:
    """The vectors of one kind in memory, as of the model's name."""

    def __init__(self, index: VectorIndex, model: str) -> None:
        self.index = index
        self.model = model
        self.until = 0.0  # all that were kept before are here


class Meanings:
    """One for each process. Every method raises StorageUnavailable."""

    def __init__(
        self,
        store: MeaningStore,
        tools: ToolStore,
        artifacts: ArtifactStore,
        embedder: Embedder,
        offered: OfferedMeanings,
        new_index: Callable[[int], VectorIndex],
        wall: Callable[[], float],
        rules: Callable[[], MeaningRules],
    ) -> None:
        self._store = store
        self._tools = tools
        self._artifacts = artifacts
        self._embedder = embedder
        self._offered = offered
        self._new_index = new_index
        self._wall = wall
        self._rules = rules
        self._usual: str | None = None  # the model of the vectors that are there; None: not looked up yet
        self._in_use = (
            False  # there are vectors, or somebody has asked: until then no model is loaded for offered tools
        )
        self._missed: float | None = None  # since when no node has that model
        self._loaded: dict[ThingKind, _Loaded] = {}
        self._turn = asyncio.Lock()
        self._making = asyncio.Lock()

    async def model(self) -> str:
        """The model whose vectors are compared; empty: there is none."""
        if self._usual is None:
            newest = [pair for kind in ThingKind for pair in await self._store.since(kind, 0.0, 1)]
            self._usual = max(newest, key=lambda pair: pair[1])[0].model if newest else ""
            self._in_use |= bool(newest)
        found = self._embedder.model(self._usual)
        if found == self._usual or not self._usual or self._embedder.fixed:
            self._missed = None
            return found
        self._missed = self._missed or self._wall()
        return self._usual if self._wall() - self._missed < MISSED_SECONDS else found

    async def nearest(self, kind: ThingKind, question: bytes, limit: int) -> list[tuple[str, float]]:
        """Ids with the cosine, the nearest first. What has been deleted meanwhile may be among them. Raises Conflict
        when there are more vectors than can be looked through without numpy."""
        async with self._turn:
            loaded = await self._load(kind, await self.model())
        if loaded.index.full and loaded.index.most < self._rules().most:
            raise Conflict(
                f"{loaded.index.most:,} vectors are the most without numpy: install orchestrator[search].",
                details={"code": "NUMPY_NEEDED", "extra": "search"},
            )
        return await asyncio.to_thread(loaded.index.nearest, question, limit)

    async def nearest_offered(self, question: bytes, limit: int) -> list[tuple[Tool, float]]:
        """Tools that are not in the registry, with the cosine, the nearest first."""
        return await self._offered.nearest(await self.model(), question, limit)

    async def vector(self, text: str) -> bytes:
        """Of a question. Raises Conflict when there is no model, and errors as of `Embedder.embed`."""
        model = await self.model()
        if not model:
            raise Conflict(
                "No model of the fleet is known to embed: add one, or name it in tools.embedding_model.",
                details={"code": "NO_EMBEDDING_MODEL"},
            )
        self._in_use = True
        return (await self._embedder.embed(model, [text[:TEXT_LIMIT]]))[0]

    async def _load(self, kind: ThingKind, model: str) -> _Loaded:
        loaded = self._loaded.get(kind)
        most = self._rules().most
        if loaded is None or loaded.model != model:
            loaded = self._loaded[kind] = _Loaded(self._new_index(most), model)
        found = await self._store.since(kind, max(0.0, loaded.until - OVERLAP), most)
        vectors = [(one.id, one.vector) for one, _ in found if one.model == model]
        await asyncio.to_thread(loaded.index.put, vectors)
        if found:
            loaded.until = max(at for _, at in found)
        return loaded

    # In the background

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Makes what is missing, again and again until cancelled."""
        while True:
            pause = LOOK_SECONDS
            try:
                if made := await self.work():
                    pause = made / self._rules().rate
            except OrchestratorError as error:
                _log.warning("meanings_not_made", extra={"error": error.message})
                pause = FAILED_SECONDS
            await sleep(pause)

    async def work(self) -> int:
        """Makes the vectors of one batch; how many things it looked at. Raises errors as of `Embedder.embed`."""
        async with self._making:
            return await self._work()

    async def _work(self) -> int:
        model = await self.model()
        if not model:
            return 0
        if model != self._usual:
            await self._change(model)
        if self._in_use and (made := await self._offered.work(model, self._rules().most)):
            return made
        made = await self._stored(model)
        self._in_use |= made > 0
        return made

    async def _stored(self, model: str) -> int:
        for kind in ThingKind:
            pending = await self._store.pending(kind, BATCH)
            if not pending:
                continue
            if await self._store.count(kind) < self._rules().most or any(digest for _, digest in pending):
                await self._make(kind, model, dict(pending))
                return len(pending)
        return 0

    async def _change(self, model: str) -> None:
        """Vectors of two models cannot be compared."""
        count = sum([await self._store.forget_others(kind, model) for kind in ThingKind])
        if count:
            _log.info("meanings_forgotten", extra={"model": model, "count": count})
        self._usual = model

    async def _make(self, kind: ThingKind, model: str, pending: Mapping[str, str]) -> None:
        texts = await self._texts(kind, list(pending))
        digests = {one: _digest(model, text) for one, text in texts.items()}
        same = [one for one in pending if one not in texts or digests[one] == pending[one]]
        changed = [one for one in texts if one not in same]
        vectors = await self._embedder.each(model, [texts[one] for one in changed]) if changed else []
        now = await self._texts(kind, changed) if changed else {}  # what has changed meanwhile stays pending
        made = [
            Meaning(one, model, digests[one], vector)
            for one, vector in zip(changed, vectors, strict=True)
            if vector is not None and now.get(one) == texts[one]
        ]
        refused = [one for one, vector in zip(changed, vectors, strict=True) if vector is None]
        if made:
            await self._store.keep(kind, made, self._wall())
        if same or refused:
            await self._store.settled(kind, [*same, *refused])

    async def _texts(self, kind: ThingKind, ids: Sequence[str]) -> dict[str, str]:
        if kind is ThingKind.TOOL:
            tools = [await self._tools.get(one) for one in ids]
            return {tool.tool_id: meaning_text(tool) for tool in tools if tool is not None}
        found = await self._artifacts.page(ArtifactQuery(ids=tuple(ids), limit=len(ids)))
        return {artifact.id: _of_artifact(artifact) for artifact in found}


def _of_artifact(artifact: Artifact) -> str:
    return f"{artifact.file_name}\n{artifact.mime_type}"


def _digest(model: str, text: str) -> str:
    return hashlib.sha256(f"{model}\0{text}".encode()).hexdigest()
