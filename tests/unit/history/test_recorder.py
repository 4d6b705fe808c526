"""The recorder: everything counts, what is kept in full is bounded, and a database that is away loses nothing soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from math import inf

import pytest
from history_gateway import AT, FlakyHistory, failed, keep_all, quiet_gateway, record

from orchestrator.ports.history import EMPTY, RequestFilter, Rollup
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history import recorder as module
from orchestrator.services.history.recorder import Recorder
from orchestrator.services.history.requests import pages


@asynccontextmanager
async def recording(store: FlakyHistory, rows_per_second: int = 500) -> AsyncIterator[tuple[Gateway, Recorder]]:
    gateway = quiet_gateway()
    recorder = Recorder(gateway, store, rows_per_second=rows_per_second)
    recorder.start()
    try:
        yield gateway, recorder
    finally:
        await recorder.stop()


async def total(store: FlakyHistory) -> tuple[Rollup, ...]:
    return await store.rollups(since=0, until=AT * 2, step=0)


async def test_requests_become_sums() -> None:
    store = FlakyHistory()
    async with recording(store) as (gateway, recorder):
        keep_all(gateway, [record(n, stream=True, chunks=4) for n in range(3)])
        keep_all(gateway, [failed(3), record(4, outcome="cancelled", error="client_gone", queue_wait=2.0)])
        await recorder.catch_up()
        (one,) = await total(store)
    assert (one.requests, one.answered, one.errors, one.cancelled) == (5, 3, 1, 1)
    assert (one.streams, one.chunks, one.prompt_tokens, one.completion_tokens) == (3, 12, 15, 35)
    assert one.duration_sum == pytest.approx(0.6)
    assert one.ttft_sum == pytest.approx(0.3)
    assert one.queue_wait_sum == 2.0
    assert sum(one.durations) == sum(one.ttfts) == 3
    assert dict(one.failures) == {"stalled": 1}
    assert len(await store.requests(RequestFilter(), 10)) == 5


async def test_above_the_limit_ordinary_requests_are_sampled_evenly_and_troubled_ones_all_kept() -> None:
    store = FlakyHistory()
    async with recording(store, rows_per_second=50) as (gateway, recorder):
        keep_all(gateway, [record(n) for n in range(1000)])
        keep_all(gateway, [failed(1000 + n) for n in range(100)])
        await recorder.catch_up()
        rows = await store.requests(RequestFilter(success=True), 2000)
        assert len(await store.requests(RequestFilter(success=False), 2000)) == 100
        (one,) = await total(store)
    assert one.requests == 1100
    numbers = sorted(int(row.id[1:]) for row in rows)
    assert len(numbers) == 50
    assert {b - a for a, b in pairwise(numbers)} == {20}


async def test_nothing_is_kept_in_full_when_told_so() -> None:
    store = FlakyHistory()
    async with recording(store, rows_per_second=0) as (gateway, recorder):
        keep_all(gateway, [record(n) for n in range(10)])
        await recorder.catch_up()
        assert (await total(store))[0].requests == 10
    assert await store.requests(RequestFilter(), 10) == ()


async def test_stop_writes_the_rest() -> None:
    store = FlakyHistory()
    async with recording(store) as (gateway, _):
        gateway.keep(record())
    assert (await total(store))[0].requests == 1
    gateway.keep(record(1))  # nobody listens any more
    assert (await total(store))[0].requests == 1


async def test_a_database_that_comes_back_gets_everything_once(caplog: pytest.LogCaptureFixture) -> None:
    store = FlakyHistory()
    store.away = True
    async with recording(store) as (gateway, recorder):
        for start in (0, 10):
            keep_all(gateway, [record(n) for n in range(start, start + 10)])
            await recorder.catch_up()
        assert store.refused == 2
        assert recorder.behind
        assert await total(store) == ()
        store.away = False
        await recorder.catch_up()
        assert not recorder.behind
    assert (await total(store))[0].requests == 20
    assert len(await store.requests(RequestFilter(), 100)) == 20
    assert [one.message for one in caplog.records].count("history_behind") == 1


async def test_what_has_no_room_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    store = FlakyHistory()
    store.away = True
    async with recording(store) as (gateway, recorder):
        keep_all(gateway, [failed(n) for n in range(module.AT_ONCE + module.MOST_ROWS + 7)])
        await recorder.catch_up()
        keep_all(gateway, [failed(n) for n in range(module.AT_ONCE + 7)])
        await recorder.catch_up()
        dropped = recorder.waiting.dropped["requests"]
        assert dropped > 0
        numbers = {labels: value for one in recorder.families() for labels, value in one.samples}
        assert numbers["requests",] == dropped
        store.away = False
    assert len(await store.requests(RequestFilter(), 10**6)) + dropped == 2 * (module.AT_ONCE + 7) + module.MOST_ROWS
    assert "history_dropped" in [one.message for one in caplog.records]
    assert all(len(batch.requests) <= module.AT_ONCE for batch in store.batches)


async def test_models_that_nobody_has_do_not_fill_the_sums() -> None:
    store = FlakyHistory()
    async with recording(store) as (gateway, recorder):
        keep_all(gateway, [failed(n, node="", model=f"made-up-{n}", error="model_not_found") for n in range(500)])
        await recorder.catch_up()
        (one,) = await total(store)
    assert (one.node, one.model, one.errors) == ("", "", 500)
    assert one.durations == EMPTY


async def test_the_event_loop_gets_its_turn_while_a_burst_is_added_up() -> None:
    store = FlakyHistory()
    async with recording(store, rows_per_second=0) as (gateway, recorder):
        gateway.clock.tick()
        recorder.pending.extend(record(n) for n in range(60_000))
        longest, done = 0.0, asyncio.create_task(recorder.catch_up())
        loop = asyncio.get_running_loop()
        turns = 0
        while not done.done():
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)
            turns += 1
    assert turns > 10
    assert longest < 0.25  # milliseconds on an idle machine; test machines are not


async def test_pages_tell_each_request_once_where_many_ended_together() -> None:
    store = FlakyHistory()
    async with recording(store, rows_per_second=100_000) as (gateway, recorder):
        keep_all(gateway, [record(n, at=AT + n // 1500) for n in range(4000)])
        await recorder.catch_up()
        found = [row.id async for page in pages(store, RequestFilter(until=inf), 3500) for row in page]
    assert len(found) == len(set(found)) == 3500
