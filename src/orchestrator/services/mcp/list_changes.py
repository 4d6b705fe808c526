"""Tells that there are other tools, or other artifacts, than before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from orchestrator.domain.artifact import ArtifactState
from orchestrator.domain.errors import RateLimited, StorageUnavailable
from orchestrator.domain.tool import ToolOrder, ToolQuery, ToolSource, ToolStatus
from orchestrator.ports.artifacts import ArtifactQuery
from orchestrator.services.artifacts import Artifacts
from orchestrator.services.tool_calls import Catalogue

LOOK = 2.0  # seconds between two looks
MOST_LISTENERS = 1_000
_REGISTERED = ToolQuery(status=ToolStatus.ENABLED, source=ToolSource.REGISTRY, order=ToolOrder.RELEVANCE)
_NEWEST = ArtifactQuery(state=ArtifactState.STORED, limit=1)


class Listed(StrEnum):
    TOOLS = "tools"
    ARTIFACTS = "artifacts"


Hear = Callable[[Listed], Awaitable[None]]


class ListChanges:
    """Looks at the lists while somebody listens, and at no other time.

    What this process changes is always noticed. What another one does is where it makes, enables or removes: that it
    describes a tool in other words, or deletes an artifact, is not."""

    def __init__(
        self,
        changes: Callable[[], int],
        catalogue: Catalogue,
        artifacts: Artifacts,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """`changes`: how many this process has made among the registry's tools."""
        self._changes = changes
        self._catalogue = catalogue
        self._artifacts = artifacts
        self._sleep = sleep
        self._listeners: dict[object, Hear] = {}
        self._seen: dict[Listed, object] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @asynccontextmanager
    async def followed(self, hear: Hear) -> AsyncGenerator[None]:
        """`hear` is told of all changes until the block ends. Raises RateLimited, StorageUnavailable."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise RateLimited(f"{MOST_LISTENERS} clients listen already.", retry_after=60.0)
        key = object()
        self._listeners[key] = hear
        try:
            if self._looking is None:
                self._seen = {listed: await self._look(listed) for listed in Listed}
            if self._looking is None:  # nobody else has begun meanwhile
                self._looking = asyncio.create_task(self._run(), name="list changes")
            yield
        finally:
            del self._listeners[key]
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _run(self) -> None:
        while True:
            await self._sleep(LOOK)
            for listed in Listed:
                try:
                    found = await self._look(listed)
                except StorageUnavailable:
                    continue  # whoever lists is told that
                if found != self._seen[listed]:
                    self._seen[listed] = found
                    for hear in [*self._listeners.values()]:
                        await hear(listed)

    async def _look(self, listed: Listed) -> object:
        """Something that is equal as long as the list is the same. Raises StorageUnavailable."""
        if listed is Listed.TOOLS:
            count = await self._catalogue.count(_REGISTERED)
            newest = [tool.tool_id for tool in await self._catalogue.page(_REGISTERED, 1, 0)]
            return self._changes(), count, newest, self._catalogue.offered()
        ids = [artifact.id for artifact in await self._artifacts.page(_NEWEST)]
        return ids, sum(self._artifacts.counters.removed.values())
