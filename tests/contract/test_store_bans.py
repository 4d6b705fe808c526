from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.ban import Ban
from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.store import Storage

PAIR = Ban("a", "llama3:latest", "bad answers", 1_763_690_000.5, 1_763_680_000.25, "admin")
NODE = Ban("a", "")
MODEL = Ban("", "llama3:latest")
OTHER = Ban("b", "llama3:latest")


async def _fill(storage: Storage) -> None:
    for ban in (PAIR, NODE, MODEL, OTHER):
        await storage.bans.put(ban)


async def test_every_field_comes_back_by_node_and_model(storage: Storage) -> None:
    assert await storage.bans.list() == ()
    await _fill(storage)
    assert await storage.bans.list() == (MODEL, NODE, PAIR, OTHER)


async def test_put_replaces_the_ban_of_the_pair(storage: Storage) -> None:
    await storage.bans.put(PAIR)
    longer = replace(PAIR, until=None, reason="worse")
    await storage.bans.put(longer)
    assert await storage.bans.list() == (longer,)


async def test_delete_lifts_exactly_one_ban(storage: Storage) -> None:
    await _fill(storage)
    assert await storage.bans.delete("a", "llama3:latest") is True
    assert await storage.bans.delete("a", "llama3:latest") is False
    assert await storage.bans.delete("a", "llama3") is False
    assert await storage.bans.list() == (MODEL, NODE, OTHER)


@pytest.mark.parametrize(
    ("node", "model", "lifted", "left"),
    [
        (None, None, 4, ()),
        ("a", None, 2, (MODEL, OTHER)),
        (None, "llama3:latest", 3, (NODE,)),
        ("a", "", 1, (MODEL, PAIR, OTHER)),
        ("c", None, 0, (MODEL, NODE, PAIR, OTHER)),
        ("a\0", None, 0, (MODEL, NODE, PAIR, OTHER)),
    ],
)
async def test_clear_lifts_all_bans_that_match(
    storage: Storage, node: str | None, model: str | None, lifted: int, left: tuple[Ban, ...]
) -> None:
    await _fill(storage)
    assert await storage.bans.clear(node=node, model=model) == lifted
    assert await storage.bans.list() == left


@pytest.mark.parametrize("ban", [Ban("", ""), Ban("a", "m\0"), Ban("a", "m" * 513), Ban("a", "m", until=float("inf"))])
async def test_what_is_no_ban_is_refused(storage: Storage, ban: Ban) -> None:
    with pytest.raises(InvalidRequest):
        await storage.bans.put(ban)
    assert await storage.bans.list() == ()


async def test_the_longest_model_name_fits_every_index(storage: Storage) -> None:
    ban = Ban("n" * 100, "🚚" * 512)
    await storage.bans.put(ban)
    assert await storage.bans.list() == (ban,)
