"""Who listens is told of other tools and artifacts, and nothing is looked at while nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tool_call_parts import World, until

from orchestrator.domain.artifact import Artifact, ArtifactState
from orchestrator.domain.errors import RateLimited, StorageUnavailable
from orchestrator.domain.tool import ToolQuery, ToolSource, ToolStatus
from orchestrator.services.mcp.list_changes import LOOK, MOST_LISTENERS, ListChanges, Listed
from orchestrator.services.tool_calls import Catalogue

TOOLS, ARTIFACTS = Listed.TOOLS, Listed.ARTIFACTS


class Seen(Catalogue):
    """The catalogue of a world, on a database that may be away."""

    def __init__(self, watched: Watched) -> None:
        world = watched.world
        super().__init__(world.storage.tools, {ToolSource.BUILTIN: world.builtins}, {})
        self._watched = watched

    async def count(self, wanted: ToolQuery) -> int:
        self._watched.looks += 1
        if self._watched.away:
            raise StorageUnavailable
        return await super().count(wanted)


class Watched:
    """The lists of a world; they are looked at when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.changes = 0
        self.looks = 0  # at the registry
        self.away = False
        self.heard: list[Listed] = []
        self._go = asyncio.Semaphore(0)
        self._waiting = asyncio.Event()
        self.lists = ListChanges(lambda: self.changes, Seen(self), self.world.artifacts, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        assert seconds == LOOK
        self._waiting.set()
        await self._go.acquire()

    async def look(self) -> list[Listed]:
        """What is told at the next look."""
        await self._waiting.wait()
        self._waiting.clear()
        before = len(self.heard)
        self._go.release()
        await self._waiting.wait()
        return self.heard[before:]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with self.lists.followed(self._hear):
            yield

    async def _hear(self, listed: Listed) -> None:
        self.heard.append(listed)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_what_changes_is_told_once(watched: Watched) -> None:
    world = watched.world
    async with watched.listening():
        assert await watched.look() == []
        tool = await world.tool("a")
        assert await watched.look() == [TOOLS]
        assert await watched.look() == []
        watched.changes += 1
        assert await watched.look() == [TOOLS]
        await world.storage.tools.delete(tool.tool_id)
        assert await watched.look() == [TOOLS]
        world.builtin("b")
        assert await watched.look() == [TOOLS]
        world.builtin("b", status=ToolStatus.DISABLED)
        assert await watched.look() == [TOOLS]
        await world.tool("off", status=ToolStatus.DISABLED)
        assert await watched.look() == []


async def test_artifacts_that_come_and_go_are_told(watched: Watched) -> None:
    async with watched.listening():
        kept = Artifact("a", "a.txt", "text/plain", "/a", 1, 1.0, state=ArtifactState.STORED)
        await watched.world.storage.artifacts.add(kept)
        assert await watched.look() == [ARTIFACTS]
        await watched.world.artifacts.delete(kept.id)
        assert await watched.look() == [ARTIFACTS]


async def test_a_database_that_is_away_is_no_change(watched: Watched) -> None:
    async with watched.listening():
        watched.away = True
        await watched.world.tool("a")
        assert await watched.look() == []
        watched.away = False
        assert await watched.look() == [TOOLS]
    watched.away = True
    with pytest.raises(StorageUnavailable):
        async with watched.listening():
            pass
    assert watched.lists.listeners == 0


async def test_nothing_is_looked_at_while_nobody_listens(watched: Watched) -> None:
    assert watched.looks == 0
    async with watched.listening(), watched.listening():
        await watched.world.tool("a")
        assert await watched.look() == [TOOLS, TOOLS]
    looks = watched.looks
    await until(lambda: not any(task.get_name() == "list changes" for task in asyncio.all_tasks()))
    await watched.world.tool("b")
    async with watched.listening():  # begins anew: what came meanwhile is no change
        assert watched.looks == looks + 1
        assert await watched.look() == []


async def test_there_may_be_so_many(watched: Watched) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MOST_LISTENERS):
            await stack.enter_async_context(watched.listening())
        with pytest.raises(RateLimited):
            await stack.enter_async_context(watched.listening())
    assert watched.lists.listeners == 0
