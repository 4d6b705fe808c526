from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.breaker import Breaker, BreakerState
from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.store import Storage

NODE = BreakerRecord("a", "", "closed")
PAIR = BreakerRecord(
    node="a",
    model="hf.co/team/llama3:8b:q4",
    state="open",
    failure_count=2**40,
    success_count=7,
    opened_at=1_763_690_000.125,
    open_until=1_763_690_005.25,
    open_count=3,
    reason="5 failures in a row: connection refused",
    last_failure_at=1_763_690_000.1,
    last_success_at=1_763_689_000.9,
    forced=True,
)


async def test_every_field_comes_back_under_its_key(storage: Storage) -> None:
    assert await storage.breakers.load() == {}
    await storage.breakers.save([NODE, PAIR])
    assert await storage.breakers.load() == {"a": NODE, "a:hf.co/team/llama3:8b:q4": PAIR}


async def test_a_breaker_goes_on_where_the_last_process_left_it(storage: Storage) -> None:
    before = Breaker("a", "m")
    before.force(BreakerState.OPEN, now=1000.5, seconds=60.0, reason="maintenance")
    await storage.breakers.save([before.record()])
    after = Breaker("a", "m")
    after.restore((await storage.breakers.load())["a:m"])
    assert after.record() == before.record()
    assert after.time_left(1030.5) == 30.0
    assert after.forced


async def test_save_replaces_and_the_last_of_a_key_counts(storage: Storage) -> None:
    await storage.breakers.save([PAIR])
    closed = replace(PAIR, state="closed", open_until=None, forced=False)
    await storage.breakers.save(record for record in (NODE, replace(PAIR, state="half_open"), closed))
    assert await storage.breakers.load() == {NODE.key: NODE, PAIR.key: closed}


async def test_a_batch_with_an_impossible_record_changes_nothing(storage: Storage) -> None:
    await storage.breakers.save([NODE])
    with pytest.raises(InvalidRequest):
        await storage.breakers.save([replace(NODE, state="open"), replace(PAIR, model="\0")])
    assert await storage.breakers.load() == {NODE.key: NODE}


async def test_delete_forgets_the_keys_and_ignores_unknown_ones(storage: Storage) -> None:
    await storage.breakers.save([NODE, PAIR])
    await storage.breakers.delete([PAIR.key, "a:hf.co/team/llama3", "zz", "a:\0", ""])
    assert await storage.breakers.load() == {NODE.key: NODE}
    await storage.breakers.delete(iter([NODE.key]))
    assert await storage.breakers.load() == {}


async def test_nothing_to_do_is_fine(storage: Storage) -> None:
    await storage.breakers.save([])
    await storage.breakers.delete([])
    assert await storage.breakers.load() == {}


async def test_a_large_fleet_in_one_batch(storage: Storage) -> None:
    records = [replace(PAIR, node=f"n{n % 100}", model=f"m{n}") for n in range(5000)]
    await storage.breakers.save(records)
    assert len(await storage.breakers.load()) == 5000
    await storage.breakers.delete(record.key for record in records[1:])
    assert list(await storage.breakers.load()) == [records[0].key]
