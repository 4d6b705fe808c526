from __future__ import annotations

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage


async def test_what_is_off_is_off_until_it_is_on(storage: Storage) -> None:
    assert await storage.switches.off() == frozenset()
    for name in ("tasks", "type:Größe/🚚", "tasks"):
        await storage.switches.put(name, off=True, when=1.5)
    assert await storage.switches.off() == {"tasks", "type:Größe/🚚"}
    await storage.switches.put("tasks", off=False, when=2.5)
    await storage.switches.put("queue", off=False, when=2.5)
    assert await storage.switches.off() == {"type:Größe/🚚"}


@pytest.mark.parametrize("name", ["a\0", "a" * 513])
async def test_a_name_that_no_database_can_keep(storage: Storage, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await storage.switches.put(name, off=True, when=1.0)
    assert await storage.switches.off() == frozenset()


async def test_it_outlives_the_process(storage_url: str) -> None:
    if storage_url == "memory://":
        return
    async with open_storage(storage_url) as storage:
        await storage.switches.put("tasks", off=True, when=1.0)
    async with open_storage(storage_url) as storage:
        assert await storage.switches.off() == {"tasks"}
