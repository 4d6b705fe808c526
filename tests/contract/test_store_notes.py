from __future__ import annotations

import pytest

from orchestrator.domain.errors import InvalidRequest, TooLarge
from orchestrator.domain.note import Note
from orchestrator.ports.store import Storage


def note(key: str = "k", value: object = 1, *, at: float = 10.0, until: float | None = None, who: str = "anna") -> Note:
    return Note(who, "n", key, value, at, until)


async def test_what_was_put_is_there_for_its_principal(storage: Storage) -> None:
    value = {"ü": [1, 2.5, None, True, "🚚"]}
    assert await storage.notes.put(note(value=value), 5)
    assert await storage.notes.get("anna", "n", "k", 11.0) == note(value=value)
    assert await storage.notes.get("bert", "n", "k", 11.0) is None
    assert await storage.notes.get("anna", "other", "k", 11.0) is None
    assert await storage.notes.put(note(value=None, at=12.0), 1)
    found = await storage.notes.get("anna", "n", "k", 13.0)
    assert found == note(value=None, at=12.0)


async def test_keys_are_in_the_order_of_their_characters(storage: Storage) -> None:
    for key in ("b", "a", "Z", "é", "a b", "10", "9"):
        await storage.notes.put(note(key), 10)
    assert await storage.notes.keys("anna", "n", 11.0, 10, 0) == (("10", "9", "Z", "a", "a b", "b", "é"), 7)
    assert await storage.notes.keys("anna", "n", 11.0, 2, 3) == (("a", "a b"), 7)
    assert await storage.notes.keys("bert", "n", 11.0, 2, 0) == ((), 0)


async def test_one_that_has_expired_is_not_there_and_takes_no_room(storage: Storage) -> None:
    assert await storage.notes.put(note("a", until=20.0), 1)
    assert not await storage.notes.put(note("b", at=19.0), 1)
    assert (await storage.notes.keys("anna", "n", 19.9, 10, 0))[1] == 1
    assert await storage.notes.get("anna", "n", "a", 20.0) is None
    assert await storage.notes.keys("anna", "n", 20.0, 10, 0) == ((), 0)
    assert await storage.notes.clear("anna", "n", None, 20.0) == 0
    assert await storage.notes.put(note("b", at=20.0), 1)


async def test_one_or_all_are_cleared(storage: Storage) -> None:
    for key in ("a", "b", "c"):
        await storage.notes.put(note(key), 10)
    await storage.notes.put(note("a", who="bert"), 10)
    assert await storage.notes.clear("anna", "n", "b", 11.0) == 1
    assert await storage.notes.clear("anna", "n", "b", 11.0) == 0
    assert await storage.notes.clear("anna", "n", None, 11.0) == 2
    assert await storage.notes.get("bert", "n", "a", 11.0) is not None


@pytest.mark.parametrize("key", ["", "a\0", "a" * 201, "\ud800"])
async def test_names_that_no_database_can_keep(storage: Storage, key: str) -> None:
    with pytest.raises(InvalidRequest):
        await storage.notes.put(note(key), 5)


async def test_values_are_bounded(storage: Storage) -> None:
    for value in ("a\0", 2**70, float("nan")):
        with pytest.raises(InvalidRequest):
            await storage.notes.put(note(value=value), 5)
    with pytest.raises(TooLarge):
        await storage.notes.put(note(value="x" * 70_000), 5)
