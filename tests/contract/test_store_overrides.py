from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.overrides import OverrideEntry
from orchestrator.ports.store import Storage

DOCUMENT = {
    "queue.max_size": 2000,
    "retry": {"delays": [0.5, 1, 2.25], "on": True, "off": False, "none": None},
    "text": "größe 🚚 '); DROP TABLE overrides --",
    "": {},
}


async def test_nothing_was_changed_yet(storage: Storage) -> None:
    assert await storage.overrides.get() == {}
    assert await storage.overrides.history() == ()


async def test_the_newest_document_comes_back_whole(storage: Storage) -> None:
    await storage.overrides.put({"a": 1}, "ann", 1.0)
    await storage.overrides.put(DOCUMENT, "bob", 2.5)
    stored = await storage.overrides.get()
    assert stored == DOCUMENT
    assert list(stored) == list(DOCUMENT)
    assert type(stored["retry"]["on"]) is bool


async def test_history_is_newest_first_and_versions_rise(storage: Storage) -> None:
    first = await storage.overrides.put({"a": 1}, "ann", 1.0)
    second = await storage.overrides.put({}, "bob", 2.5)
    assert second > first
    entries = (OverrideEntry(second, {}, "bob", 2.5), OverrideEntry(first, {"a": 1}, "ann", 1.0))
    assert await storage.overrides.history() == entries
    assert await storage.overrides.history(1) == entries[:1]
    assert await storage.overrides.history(0) == ()
    assert await storage.overrides.history(-1) == ()
    assert await storage.overrides.get() == {}


async def test_what_a_caller_does_to_a_document_changes_nothing_stored(storage: Storage) -> None:
    document: dict[str, Any] = {"list": [1]}
    await storage.overrides.put(document, "ann", 1.0)
    document["list"].append(2)
    (await storage.overrides.get())["list"].append(3)
    (await storage.overrides.history())[0].document["list"].append(4)
    assert await storage.overrides.get() == {"list": [1]}


def _nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"a": document}
    return document


@pytest.mark.parametrize(
    "document",
    [
        {"a": float("nan")},
        {"a": [float("-inf")]},
        {"a": "\0"},
        {"a": "\udfff"},
        {"a": object()},
        {"a": b"bytes"},
        {"a": {1: "number as name"}},
        {"a": {1, 2}},
        _nested(1000),
    ],
    ids=["nan", "infinity", "nul", "surrogate", "object", "bytes", "name", "set", "depth"],
)
async def test_what_is_no_document_is_refused(storage: Storage, document: dict[str, Any]) -> None:
    await storage.overrides.put({"good": 1}, "ann", 1.0)
    with pytest.raises(InvalidRequest):
        await storage.overrides.put(document, "ann", 2.0)
    assert await storage.overrides.get() == {"good": 1}
