from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.domain.api_key import ApiKey, hash_secret
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.ports.store import Storage

PLAIN = ApiKey("k1", "laptop", "orc_ab12", hash_secret("orc_ab12-one"), "viewer", created_at=10.0)
FULL = ApiKey(
    id="k2",
    name="größe 🚚",
    prefix="orc_cd34",
    hash=hash_secret("orc_cd34-two"),
    role="admin",
    models=("llama3:*", "b", "a"),
    rate_limit=600,
    priority=-3,
    created_at=5.5,
    expires_at=1_763_690_000.125,
    revoked_at=1_763_680_000.5,
    last_used_at=1_763_670_000.75,
)


async def test_every_field_comes_back_by_time_of_creation(storage: Storage) -> None:
    assert await storage.keys.list() == ()
    for key in (PLAIN, FULL):
        await storage.keys.put(key)
    assert await storage.keys.list() == (FULL, PLAIN)
    assert type((await storage.keys.list())[0].models) is tuple


async def test_a_key_is_found_by_its_hash_only(storage: Storage) -> None:
    await storage.keys.put(PLAIN)
    await storage.keys.put(FULL)
    assert await storage.keys.find(hash_secret("orc_ab12-one")) == PLAIN
    assert await storage.keys.find(hash_secret("orc_cd34-two")) == FULL, "revoked ones are found too"
    for wrong in ("orc_ab12-one", "", PLAIN.hash.upper(), PLAIN.hash[:-1], "\0", "%"):
        assert await storage.keys.find(wrong) is None


async def test_put_replaces_and_an_old_hash_is_gone(storage: Storage) -> None:
    await storage.keys.put(PLAIN)
    rotated = replace(PLAIN, hash=hash_secret("new"), role="operator")
    await storage.keys.put(rotated)
    assert await storage.keys.list() == (rotated,)
    assert await storage.keys.find(PLAIN.hash) is None
    assert await storage.keys.find(rotated.hash) == rotated


async def test_two_keys_never_share_a_hash(storage: Storage) -> None:
    await storage.keys.put(PLAIN)
    with pytest.raises(Conflict):
        await storage.keys.put(replace(FULL, hash=PLAIN.hash))
    assert await storage.keys.list() == (PLAIN,)


async def test_a_key_is_revoked_once(storage: Storage) -> None:
    await storage.keys.put(PLAIN)
    assert await storage.keys.revoke("k1", 20.5) is True
    assert await storage.keys.revoke("k1", 30.0) is False
    assert await storage.keys.revoke("unknown", 30.0) is False
    assert await storage.keys.revoke("\0", 30.0) is False
    stored = await storage.keys.find(PLAIN.hash)
    assert stored == replace(PLAIN, revoked_at=20.5)
    assert not stored.usable(20.0)


async def test_touch_records_the_latest_use(storage: Storage) -> None:
    second = replace(PLAIN, id="k3", hash=hash_secret("three"))
    for key in (PLAIN, second):
        await storage.keys.put(key)
    await storage.keys.touch(["k1", "k3", "unknown", "\0"], 50.0)
    await storage.keys.touch(["k1"], 60.5)
    await storage.keys.touch(iter(["k1", "k3"]), 55.0)
    await storage.keys.touch([], 99.0)
    assert {key.id: key.last_used_at for key in await storage.keys.list()} == {"k1": 60.5, "k3": 55.0}


async def test_uses_recorded_at_the_same_time_all_count(storage: Storage) -> None:
    keys = [replace(PLAIN, id=f"k{n}", hash=hash_secret(str(n))) for n in range(20)]
    await asyncio.gather(*(storage.keys.put(key) for key in keys))
    await asyncio.gather(*(storage.keys.touch([key.id for key in keys], float(n)) for n in range(1, 21)))
    assert {key.last_used_at for key in await storage.keys.list()} == {20.0}


async def test_a_hash_never_shows(storage: Storage) -> None:
    await storage.keys.put(PLAIN)
    assert PLAIN.hash not in repr(await storage.keys.list())


@pytest.mark.parametrize("key", [replace(PLAIN, name="\0"), replace(PLAIN, id="\0"), replace(PLAIN, priority=2**64)])
async def test_impossible_values_are_refused(storage: Storage, key: ApiKey) -> None:
    with pytest.raises(InvalidRequest):
        await storage.keys.put(key)
    assert await storage.keys.list() == ()
