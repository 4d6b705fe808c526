from __future__ import annotations

import pytest

from orchestrator.domain.alias import Alias
from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.store import Storage


async def test_aliases_come_back_by_name_with_targets_in_order(storage: Storage) -> None:
    assert await storage.aliases.list() == ()
    aliases = [Alias("gpt-4", ("llama3:70b", "llama3:8b", "a")), Alias("Größe/🚚", ("x",))]
    for alias in aliases:
        await storage.aliases.put(alias)
    assert await storage.aliases.list() == (aliases[1], aliases[0])
    assert type((await storage.aliases.list())[0].targets) is tuple


async def test_put_replaces_and_delete_removes(storage: Storage) -> None:
    await storage.aliases.put(Alias("fast", ("a", "b")))
    await storage.aliases.put(Alias("fast", ("c",)))
    assert await storage.aliases.list() == (Alias("fast", ("c",)),)
    assert await storage.aliases.delete("Fast") is False
    assert await storage.aliases.delete("fast") is True
    assert await storage.aliases.delete("fast") is False
    assert await storage.aliases.delete("\0") is False
    assert await storage.aliases.list() == ()


@pytest.mark.parametrize("alias", [("a\0", ("b",)), ("a", ("\0",)), ("a" * 513, ("b",))])
async def test_impossible_names_are_refused(storage: Storage, alias: tuple[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvalidRequest):
        await storage.aliases.put(Alias(*alias))
    assert await storage.aliases.list() == ()
