"""A ledger that is asked for the next commit before the last one is answered: a SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

import migrated
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.ports.event_log import EventBatch
from orchestrator.ports.ledger import Ledger, Verdict
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage
from task_samples import NOW, change, keep, queued

DONE, STALE, EXISTS = Verdict.DONE, Verdict.STALE, Verdict.EXISTS


class Told:
    """`News` of one event."""

    number = 0

    def of(self, verdicts: Sequence[Verdict]) -> EventBatch | None:
        return EventBatch(0, NOW, 1, b"body")


@pytest.fixture
async def storage(sqlite_url: str) -> AsyncIterator[Storage]:
    migrated.place(sqlite_url)
    async with open_storage(sqlite_url) as opened:
        yield opened


@pytest.fixture
def ledger(storage: Storage) -> Ledger:
    return storage.ledger


async def both(ledger: Ledger, first: Sequence[Change], second: Sequence[Change]) -> list[list[Verdict] | None]:
    assert ledger.pipeline is not None
    return list(await asyncio.gather(ledger.commit(first), ledger.pipeline.commit_behind(second)))


async def test_they_are_made_one_after_the_other(ledger: Ledger) -> None:
    task = queued("a")
    assigned = lifecycle.assign(task, "n", NOW)
    assert await both(ledger, [Change(task)], [change(task, assigned), Change(queued("b"))]) == [[DONE], [DONE, DONE]]
    ended = lifecycle.succeed(assigned, NOW, b"1")
    again = queued("again")
    assert await both(ledger, [change(assigned, ended)], [Change(again)]) == [[DONE], [DONE]]
    held = await ledger.get(["a", "b", "again"])
    assert (held["a"], held["again"], len(held)) == (ended, again, 3)


async def test_behind_one_that_is_made_in_part_nothing_is_made(ledger: Ledger) -> None:
    [old] = await keep(ledger, queued("old"))
    task, other = queued("a"), queued("b")
    moved = change(task, lifecycle.assign(task, "n", NOW))
    assert await both(ledger, [Change(queued("old")), Change(task)], [moved, Change(other)]) == [[EXISTS, DONE], None]
    assert await ledger.get(["old", "a", "b"]) == {"old": old, "a": task}
    assert await ledger.commit([moved, Change(other)]) == [DONE, DONE]


@pytest.mark.parametrize("times", [1, 2])
async def test_behind_one_that_is_refused_nothing_is_made(ledger: Ledger, times: int) -> None:
    assert ledger.pipeline is not None
    refused = ledger.commit([Change(queued("a", task_type="no\0text"))])
    behind = ledger.pipeline.commit_behind([Change(queued("b"))] * times)  # twice: it can be made in part only
    found = await asyncio.gather(refused, behind, return_exceptions=True)
    assert (type(found[0]), found[1]) == (InvalidRequest, None)
    assert await ledger.get(["a", "b"]) == {}


async def test_one_that_can_be_made_in_part_is_made_so_behind_another(ledger: Ledger) -> None:
    [old, _] = await keep(ledger, queued("old"), queued("taken"))
    late = [change(old, lifecycle.assign(old, "n", NOW)), Change(queued("taken")), Change(queued("b"))]
    assert await both(ledger, [Change(queued("a"))], late) == [[DONE], [DONE, EXISTS, DONE]]


async def test_a_number_is_given_to_the_news_of_each(storage: Storage) -> None:
    ledger, first, second = storage.ledger, Told(), Told()
    assert ledger.pipeline is not None
    await asyncio.gather(
        ledger.commit([Change(queued("a"))], first), ledger.pipeline.commit_behind([Change(queued("b"))], second)
    )
    assert first.number > 0
    kept = await storage.event_log.read(first.number - 1, 5)
    assert [batch.number for batch in kept] == [first.number, second.number] == [first.number, first.number + 1]


async def test_others_who_write_get_their_turn(ledger: Ledger) -> None:
    """Though there never is a moment at which nothing is on its way."""
    assert ledger.pipeline is not None
    writing: asyncio.Task[list[Verdict] | None] = asyncio.create_task(ledger.commit([Change(queued())]))
    await asyncio.sleep(0)
    other = asyncio.create_task(ledger.take_over("me", seconds=60.0))
    for _ in range(200):
        behind = asyncio.create_task(ledger.pipeline.commit_behind([Change(queued())]))
        await writing
        writing = behind
        if other.done():
            break
    await writing
    assert other.done()
