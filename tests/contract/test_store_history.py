from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from orchestrator.ports.history import (
    BUCKETS,
    Candidate,
    Decision,
    HistoryBatch,
    RequestFilter,
    Retention,
    Rollup,
)
from orchestrator.ports.record import Attempt, RequestRecord
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

HOUR, DAY = 3600, 86400
T0 = 1_763_690_400  # a whole hour
FOREVER = Retention(10 * 365 * DAY, 10**9, 10 * 365 * DAY, 10**9, 10 * 365 * DAY, 10 * 365 * DAY)
OK = RequestRecord(
    id="req_1",
    at=T0 + 0.123456,
    endpoint="chat",
    principal="ann",
    model="llama3:8b",
    node="a",
    status=200,
    stream=True,
    duration=1.5,
    queue_wait=0.25,
    ttft=0.125,
    prompt_tokens=12,
    completion_tokens=34,
    estimated=True,
    attempts=(Attempt("a", "llama3:8b", "", 0.0, status=200),),
    error="",
    outcome="ok",
    continuations=2,
    trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
TRIED = (
    Attempt("a", "llama3", "ollama", 100.5, 1, 500, "server error", "server", 101.5),
    Attempt("b", "llama3:8b", "openai", 101.5, 2, 200, "", "", 103.0, True),
)
RETRIED = msgspec.structs.replace(OK, id="req_2", at=T0 + 1.0, node="b", attempts=TRIED)
FAILED = msgspec.structs.replace(
    OK, id="req_3", at=T0 + 2.0, node="", status=503, ttft=None, attempts=(), error="no_nodes", outcome="error"
)
CANCELLED = msgspec.structs.replace(
    OK,
    id="req_4",
    at=T0 + 3.0,
    endpoint="embeddings",
    principal="bob",
    model="nomic",
    stream=False,
    attempts=(Attempt("a", "nomic", "", 0.0, status=200),),
    outcome="cancelled",
)
RECORDS = (OK, RETRIED, FAILED, CANCELLED)


async def _found(storage: Storage, limit: int = 100, offset: int = 0, **wanted: Any) -> list[str]:
    return [record.id for record in await storage.history.requests(RequestFilter(**wanted), limit, offset)]


def _many(count: int, **changes: Any) -> list[RequestRecord]:
    return [msgspec.structs.replace(OK, id=f"r{n}", at=float(T0 + n), **changes) for n in range(count)]


async def test_every_field_of_a_request_comes_back(storage: Storage) -> None:
    assert await storage.history.requests(RequestFilter(), 10) == ()
    await storage.history.append(HistoryBatch(requests=RECORDS))
    assert await storage.history.requests(RequestFilter(), 10) == tuple(reversed(RECORDS))


async def test_attempts_without_trouble_are_made_from_the_record(storage: Storage) -> None:
    first = Attempt("a", "llama3", "ollama", 100.5, 1, 200, "", "", 101.5)
    await storage.history.append(HistoryBatch(requests=[msgspec.structs.replace(OK, attempts=(first,), chunks=7)]))
    (found,) = await storage.history.requests(RequestFilter(), 10)
    assert found == OK


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"node": "b"}, ["req_2"]),
        ({"node": ""}, ["req_3"]),
        ({"node": "nobody"}, []),
        ({"model": "nomic"}, ["req_4"]),
        ({"endpoint": "embeddings"}, ["req_4"]),
        ({"principal": "bob"}, ["req_4"]),
        ({"outcome": "cancelled"}, ["req_4"]),
        ({"outcome": "ok"}, ["req_2", "req_1"]),
        ({"success": False}, ["req_3"]),
        ({"success": True}, ["req_4", "req_2", "req_1"]),
        ({"error": "no_nodes"}, ["req_3"]),
        ({"error": ""}, ["req_4", "req_2", "req_1"]),
        ({"retried": True}, ["req_2"]),
        ({"retried": False}, ["req_4", "req_3", "req_1"]),
        ({"request_id": "req_3"}, ["req_3"]),
        ({"request_id": "req_"}, []),
        ({"request_id": "req_3", "node": "a"}, []),
        ({"since": T0 + 1.0}, ["req_4", "req_3", "req_2"]),
        ({"until": T0 + 1.0}, ["req_1"]),
        ({"since": T0 + 0.123456, "until": T0 + 2.0, "node": "a"}, ["req_1"]),
        ({"node": "a\0"}, []),
        ({"request_id": "\ud800"}, []),
    ],
)
async def test_filters(storage: Storage, wanted: dict[str, Any], ids: list[str]) -> None:
    await storage.history.append(HistoryBatch(requests=RECORDS))
    assert await _found(storage, **wanted) == ids


async def test_pages_newest_first_also_of_what_came_late(storage: Storage) -> None:
    records = _many(30)
    await storage.history.append(HistoryBatch(requests=records[1:]))
    await storage.history.append(HistoryBatch(requests=records[:1]))
    ids = [record.id for record in reversed(records)]
    assert await _found(storage, 10) == ids[:10]
    assert await _found(storage, 10, 20) == ids[20:]
    assert await _found(storage, 10, 30) == []


async def test_impossible_text_and_numbers_do_not_lose_a_batch(storage: Storage) -> None:
    odd = msgspec.structs.replace(
        OK,
        id="r\0\ud800" + "x" * 600,
        model="m" * 512,
        prompt_tokens=2**31 - 1,
    )
    await storage.history.append(HistoryBatch(requests=[odd, RETRIED]))
    found = await storage.history.requests(RequestFilter(model="m" * 512), 10)
    assert [record.id for record in found] == ["r??" + "x" * 509]
    assert await _found(storage, request_id=odd.id) == ["r??" + "x" * 509]


async def test_two_requests_of_one_id_are_both_found(storage: Storage) -> None:
    again = msgspec.structs.replace(OK, at=T0 + 5.0)
    await storage.history.append(HistoryBatch(requests=[OK, again]))
    assert await storage.history.requests(RequestFilter(request_id=OK.id), 10) == (again, OK)


def _decision(n: int, node: str = "a", model: str = "m") -> Decision:
    candidates = (
        Candidate("a", 0.75, {"load": 0.5, "latency": 0.25}),
        Candidate("b", None, {}, "breaker open"),
    )
    return Decision(float(T0 + n), f"req_{n}", model, node, "balanced", "best score", candidates)


async def test_decisions_come_back_and_are_filtered(storage: Storage) -> None:
    made = [_decision(0), _decision(1, node="b"), _decision(2, model="n"), _decision(3)]
    await storage.history.append(HistoryBatch(decisions=made))
    everything: dict[str, Any] = {"since": T0, "until": T0 + 10, "limit": 10}
    assert await storage.history.decisions(**everything) == tuple(reversed(made))
    assert await storage.history.decisions(**everything | {"limit": 1}) == (made[3],)
    assert await storage.history.decisions(**everything, node="b") == (made[1],)
    assert await storage.history.decisions(**everything, model="n") == (made[2],)
    assert await storage.history.decisions(**everything, model="unknown") == ()
    assert await storage.history.decisions(since=T0 + 1, until=T0 + 3, limit=10) == (made[2], made[1])


def _rollup(start: int, node: str = "a", **changes: Any) -> Rollup:
    hit = tuple(int(bucket == 3) for bucket in range(BUCKETS))
    base = Rollup(start, node, "m", "chat", 2, 1, 1, 0, 1, 5, 10, 20, 1.5, 0.5, 0.25, hit, hit, {"timeout": 1})
    return replace(base, **changes)


def _sum(start: int, parts: Iterable[Rollup]) -> Rollup:
    found = list(parts)
    times = len(found)
    one = found[0]
    return replace(
        one,
        start=start,
        **{name: getattr(one, name) * times for name in NUMBERS},
        durations=tuple(count * times for count in one.durations),
        ttfts=tuple(count * times for count in one.ttfts),
        failures={code: count * times for code, count in one.failures.items()},
    )


NUMBERS = (
    "requests",
    "answered",
    "errors",
    "cancelled",
    "streams",
    "chunks",
    "prompt_tokens",
    "completion_tokens",
    "duration_sum",
    "ttft_sum",
    "queue_wait_sum",
)


async def _append(storage: Storage, sums: Sequence[Rollup]) -> None:
    await storage.history.append(HistoryBatch(rollups=sums))


async def test_rollups_are_added_to_those_that_are_there(storage: Storage) -> None:
    minute = _rollup(T0)
    await _append(storage, [minute, minute])
    await _append(storage, [replace(minute, failures={"timeout": 1, "refused": 4})])
    (found,) = await storage.history.rollups(since=T0, until=T0 + 60, step=60)
    assert found == replace(_sum(T0, [minute] * 3), failures={"timeout": 3, "refused": 4})


async def test_rollups_by_step_node_and_model(storage: Storage) -> None:
    minutes = [_rollup(T0 + 60 * n) for n in range(120)]
    other = _rollup(T0 + HOUR, "b", model="n", failures={})
    await _append(storage, [*minutes, other])
    history = storage.history
    by_hour = await history.rollups(since=T0, until=T0 + 2 * HOUR, step=HOUR)
    assert by_hour == (_sum(T0, minutes[:60]), _sum(T0 + HOUR, minutes[60:]), other)
    half = await history.rollups(since=T0 + 90, until=T0 + HOUR + 30, step=0, node="a")
    assert half == (_sum(T0 + 90, minutes[2:61]),)
    assert await history.rollups(since=T0, until=T0 + 2 * HOUR, step=0, model="n") == (replace(other, start=T0),)
    assert await history.rollups(since=T0, until=T0 + 2 * HOUR, step=0, node="unknown") == ()
    fives = await history.rollups(since=T0, until=T0 + HOUR, step=300)
    assert fives == tuple(_sum(T0 + 300 * n, minutes[:5]) for n in range(12))


async def test_hours_stand_for_minutes_that_are_no_longer_kept(storage: Storage) -> None:
    minutes = [_rollup(T0 + 60 * n) for n in range(180)]
    await _append(storage, minutes)
    now = T0 + 3 * HOUR
    retention = replace(FOREVER, minutes_age=2 * HOUR)
    before = await storage.history.rollups(since=T0, until=now, step=0)
    while await storage.history.prune(retention, now, 25):
        # At any moment of it, the sum of everything is the same.
        assert await storage.history.rollups(since=T0, until=now, step=0) == before
    assert (await storage.history.size()).rollups == 120 + 3 + 1
    first = await storage.history.rollups(since=T0, until=T0 + 2 * HOUR, step=1800)
    assert [rollup.start for rollup in first] == [T0, T0 + HOUR, T0 + HOUR + 1800]
    assert first[0] == _sum(T0, minutes[:60])
    assert await storage.history.rollups(since=T0 + 60, until=T0 + HOUR, step=0) == ()
    # What comes too late for its minute counts in its hour.
    await _append(storage, [minutes[5]])
    assert await storage.history.rollups(since=T0, until=T0 + HOUR, step=60) == (_sum(T0, minutes[:61]),)
    assert await storage.history.prune(retention, now, 25) == 0


async def test_pruning_by_age(storage: Storage) -> None:
    await storage.history.append(
        HistoryBatch(_many(20), [_decision(n) for n in range(10)], [_rollup(T0), _rollup(T0 + HOUR)])
    )
    retention = replace(FOREVER, requests_age=100, decisions_age=50, hours_age=HOUR, minutes_age=60)
    assert await storage.history.prune(retention, T0 + 20.0, 1000) == 0
    assert await storage.history.prune(retention, T0 + 105.0, 3) == 3
    assert await _found(storage) == [f"r{n}" for n in range(19, 2, -1)]
    while await storage.history.prune(retention, T0 + 105.0, 3):
        pass
    assert await _found(storage) == [f"r{n}" for n in range(19, 4, -1)]
    assert await storage.history.decisions(since=0, until=T0 + 100, limit=10) == ()
    while await storage.history.prune(retention, T0 + 2 * DAY, 1000):
        pass
    size = await storage.history.size()
    assert (size.requests, size.decisions, size.rollups) == (0, 0, 0)
    assert await storage.history.rollups(since=T0, until=T0 + 2 * HOUR, step=0) == ()


async def test_pruning_by_number(storage: Storage) -> None:
    await storage.history.append(HistoryBatch(_many(50), [_decision(n) for n in range(40)]))
    size = await storage.history.size()
    assert (size.requests, size.decisions) == (50, 40)
    assert size.bytes > 0
    deleted = 0
    while count := await storage.history.prune(replace(FOREVER, requests_rows=20, decisions_rows=5), T0 + 60.0, 7):
        assert count <= 7
        deleted += count
    assert deleted == 65
    size = await storage.history.size()
    assert (size.requests, size.decisions) == (20, 5)
    assert await _found(storage) == [f"r{n}" for n in range(49, 29, -1)]


async def test_names_that_nothing_has_any_more_come_back(storage: Storage) -> None:
    """A name pruned with all its rows, and used again by a process that knew it."""
    await storage.history.append(HistoryBatch([OK], [_decision(0)], [_rollup(T0)]))
    later = T0 + 100 * DAY
    while await storage.history.prune(Retention(DAY, 10, DAY, 10, DAY, DAY), later, 1000):
        pass
    again = msgspec.structs.replace(OK, at=float(later))
    await storage.history.append(HistoryBatch([again], rollups=[_rollup(later)]))
    assert await storage.history.requests(RequestFilter(node="a"), 10) == (again,)
    (found,) = await storage.history.rollups(since=later, until=later + 60, step=60)
    assert found == _rollup(later)


async def test_an_empty_batch_is_nothing(storage: Storage) -> None:
    await storage.history.append(HistoryBatch())
    assert (await storage.history.size()).requests == 0


async def test_processes_on_one_database_share_names_and_sums(database_url: str) -> None:
    async with open_storage(database_url) as one, open_storage(database_url) as two:
        for round_ in range(3):
            names = [f"m{round_}-{n}" for n in range(20)]
            await asyncio.gather(
                *(
                    store.history.append(
                        HistoryBatch(
                            [msgspec.structs.replace(OK, model=name) for name in order],
                            rollups=[_rollup(T0, model=name) for name in order],
                        )
                    )
                    for store, order in ((one, names), (two, names[::-1]))
                )
            )
        found = await one.history.rollups(since=T0, until=T0 + 60, step=60)
        assert [rollup.requests for rollup in found] == [4] * 60
        assert len(await two.history.requests(RequestFilter(model="m0-0"), 10)) == 2


async def test_history_outlives_the_process(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        await storage.history.append(HistoryBatch(RECORDS, [_decision(0)], [_rollup(T0)]))
    async with open_storage(database_url) as storage:
        assert await storage.history.requests(RequestFilter(), 10) == tuple(reversed(RECORDS))
        assert await storage.history.decisions(since=T0, until=T0 + 1, limit=1) == (_decision(0),)
        assert await storage.history.rollups(since=T0, until=T0 + 60, step=0) == (_rollup(T0),)
