from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from orchestrator.domain.artifact import Artifact
from orchestrator.domain.tool import Tool
from orchestrator.ports.meanings import Meaning, ThingKind
from orchestrator.ports.store import Storage


def name(number: int) -> str:
    return str(UUID(int=number))


def meaning(number: int, model: str = "m", digest: str = "d") -> Meaning:
    return Meaning(name(number), model, digest, bytes([number, 0, 255, 63]))


async def add(storage: Storage, kind: ThingKind, number: int) -> None:
    if kind is ThingKind.TOOL:
        await storage.tools.add(Tool(name(number), f"tool {number}", "C"))
    else:
        await storage.artifacts.add(Artifact(name(number), f"file {number}", "a/b", "s3://b/a", 1, float(number)))


async def remove(storage: Storage, kind: ThingKind, number: int) -> None:
    if kind is ThingKind.TOOL:
        await storage.tools.delete(name(number))
    else:
        await storage.artifacts.delete([name(number)])


@pytest.mark.parametrize("kind", list(ThingKind))
async def test_what_has_no_vector_is_pending_until_it_has_one(storage: Storage, kind: ThingKind) -> None:
    store = storage.meanings
    assert await store.pending(kind, 10) == ()
    for number in (1, 2, 3):
        await add(storage, kind, number)
    assert await store.pending(kind, 2) == ((name(3), ""), (name(2), ""))
    await store.keep(kind, [meaning(1), meaning(3), meaning(9)], 5.0)
    assert await store.pending(kind, 10) == ((name(2), ""),)
    assert await store.count(kind) == 2
    await store.settled(kind, [name(2)])
    assert await store.pending(kind, 10) == ()
    await store.keep(kind, [meaning(3, digest="new")], 7.0)
    found = await store.since(kind, 0.0, 10)
    assert found == ((meaning(3, digest="new"), 7.0), (meaning(1), 5.0))
    assert await store.since(kind, 6.0, 10) == found[:1]
    assert await store.since(kind, 0.0, 1) == found[:1]
    await remove(storage, kind, 3)
    assert await store.count(kind) == 1
    assert await store.since(kind, 6.0, 10) == ()


async def test_a_tool_whose_words_change_is_pending_again(storage: Storage) -> None:
    store, kind = storage.meanings, ThingKind.TOOL
    await add(storage, kind, 1)
    await store.keep(kind, [meaning(1)], 5.0)
    tool = await storage.tools.get(name(1))
    assert tool is not None
    await storage.tools.save(replace(tool, description="other"))
    assert await store.pending(kind, 10) == ((name(1), "d"),)
    await store.keep(kind, [meaning(1, digest="e")], 6.0)
    await storage.tools.tag(name(1), "new", 1.0)
    assert await store.pending(kind, 10) == ((name(1), "e"),)


@pytest.mark.parametrize("kind", list(ThingKind))
async def test_vectors_of_other_models_are_forgotten(storage: Storage, kind: ThingKind) -> None:
    store = storage.meanings
    for number in (1, 2):
        await add(storage, kind, number)
    await store.keep(kind, [meaning(1, "old"), meaning(2, "new")], 5.0)
    assert await store.forget_others(kind, "new") == 1
    assert await store.forget_others(kind, "new") == 0
    assert await store.pending(kind, 10) == ((name(1), ""),)
    assert await store.count(kind) == 1
