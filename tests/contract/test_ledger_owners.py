"""Whose tasks are whose: what replicas take over from each other, and what several do at once."""

from __future__ import annotations

import asyncio
import random

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Counts, Verdict
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage
from task_samples import NOW, a_spec, change, finished, keep, move, queued

DONE, STALE, EXISTS = Verdict.DONE, Verdict.STALE, Verdict.EXISTS


def ids(found: tuple[Task, ...]) -> list[str]:
    return [task.id for task in found]


async def test_only_tasks_of_owners_that_are_gone_are_taken_over(storage: Storage) -> None:
    ledger = storage.ledger
    assert await ledger.take_over("alive", seconds=60) == ()
    assert await ledger.take_over("gone", seconds=0.05) == ()
    here = await keep(ledger, *(queued(name, owner=name) for name in ("alive", "gone", "unknown", "me")))
    await finished(ledger, queued("ended", owner="gone"))
    await asyncio.sleep(0.1)
    taken = await ledger.take_over("me", seconds=60)
    assert taken == tuple(task.replace(owner="me", version=2) for task in here[1:3])
    assert await ledger.take_over("me", seconds=60) == ()
    assert (await ledger.get(["gone"]))["gone"] == taken[0]
    assert (await ledger.get(["ended"]))["ended"].owner == "gone"
    assert await ledger.commit([change(here[1], lifecycle.cancel(here[1], NOW))]) == [STALE], "the version counts up"


async def test_what_nodes_had_is_taken_over_before_what_only_waited(storage: Storage) -> None:
    ledger = storage.ledger
    there = await keep(ledger, *(queued(name, owner="gone") for name in ("a", "b", "c", "d")))
    await move(ledger, there[1], lifecycle.assign(there[1], "n", NOW))
    await move(ledger, there[3], lifecycle.start(lifecycle.assign(there[3], "n", NOW), NOW))
    assert ids(await ledger.take_over("me", seconds=60, limit=1)) == ["b"]
    assert ids(await ledger.take_over("me", seconds=60, limit=2)) == ["d", "a"]
    assert ids(await ledger.take_over("me", seconds=60, limit=2)) == ["c"]


async def test_a_life_can_be_prolonged(storage: Storage) -> None:
    ledger = storage.ledger
    await ledger.take_over("a", seconds=0.05)
    await ledger.take_over("a", seconds=60)
    await keep(ledger, queued("t", owner="a"))
    await asyncio.sleep(0.1)
    assert await ledger.take_over("b", seconds=60) == ()
    await ledger.take_over("a", seconds=-1)
    assert ids(await ledger.take_over("b", seconds=60)) == ["t"]


async def test_who_is_alone_takes_everything_in_every_state(storage: Storage) -> None:
    ledger = storage.ledger
    await ledger.take_over("alive", seconds=60)
    spec = a_spec("waiting", dependencies=("x",))
    waiting = lifecycle.submitted(spec, "alive", frozenset({"x"}), NOW)
    there = await keep(ledger, waiting, *(queued(name, owner="alive") for name in ("a", "b", "c", "d")))
    assigned = await move(ledger, there[2], lifecycle.assign(there[2], "n", NOW))
    running = await move(ledger, there[3], lifecycle.start(lifecycle.assign(there[3], "n", NOW), NOW))
    begun = await move(ledger, there[4], lifecycle.assign(there[4], "n", NOW))
    retrying = await move(ledger, begun, lifecycle.fail(begun, NOW, "no", 0.5))
    expected = [assigned, running, waiting, there[1], retrying]  # what nodes had comes first
    taken = await ledger.take_over("me", seconds=60, alone=True)
    assert taken == tuple(task.replace(owner="me", version=task.version + 1) for task in expected)


async def test_a_take_over_comes_in_parts_oldest_first(storage: Storage) -> None:
    ledger = storage.ledger
    order = list(range(1, 1_201))
    random.Random(4).shuffle(order)
    await keep(ledger, *(queued(f"t{n}", seq=n, owner="gone") for n in order))
    parts: list[tuple[Task, ...]] = []
    while part := await ledger.take_over("me", seconds=60, limit=500):
        parts.append(part)
    assert [len(part) for part in parts] == [500, 500, 200]
    assert [task.spec.seq for part in parts for task in part] == list(range(1, 1_201))


async def test_only_queued_tasks_of_others_who_live_are_stolen(storage: Storage) -> None:
    ledger = storage.ledger
    await ledger.take_over("alive", seconds=60)
    await ledger.take_over("gone", seconds=-1)
    there = await keep(ledger, *(queued(name, owner="alive") for name in ("active", "ended", "queued")))
    await keep(ledger, queued("mine", owner="me"), queued("of gone", owner="gone"), queued("unknown", owner="who"))
    spec = a_spec("waiting", dependencies=("x",))
    await keep(ledger, lifecycle.submitted(spec, "alive", frozenset({"x"}), NOW))
    await move(ledger, there[0], lifecycle.assign(there[0], "n", NOW))
    await move(ledger, there[1], lifecycle.cancel(there[1], NOW))
    assert await ledger.steal("me", (), 10) == (there[2].replace(owner="me", version=2),)
    assert await ledger.steal("me", (), 10) == ()


async def test_a_thief_takes_the_best_of_its_types(storage: Storage) -> None:
    ledger = storage.ledger
    await ledger.take_over("alive", seconds=60)
    for n in range(300):
        await keep(ledger, *(queued(f"{n}{kind}", owner="alive", task_type=kind, priority=1 + n % 5) for kind in "abc"))
    taken = await ledger.steal("me", ["a", "b", "d"], 130)
    best = [f"{n}{kind}" for n in range(0, 300, 5) for kind in "ab"] + [f"{n}{kind}" for n in (1, 6) for kind in "ab"]
    best += ["11a", "11b", "16a", "16b", "21a", "21b"]
    assert ids(taken) == best
    assert await ledger.steal("me", ["d"], 10) == ()
    assert await ledger.steal("me", ["c"], 0) == ()
    assert ids(await ledger.steal("me", ["c"], 1)) == ["0c"]


async def test_several_ledgers_give_no_task_twice(database_url: str) -> None:
    async with (
        open_storage(database_url) as one,
        open_storage(database_url) as two,
        open_storage(database_url) as three,
    ):
        ledgers = [one.ledger, two.ledger, three.ledger]
        await one.ledger.take_over("alive", seconds=60)
        await keep(one.ledger, *(queued(f"s{n}", owner="alive") for n in range(200)))

        async def steal(place: int) -> list[Task]:
            return [task for _ in range(30) for task in await ledgers[place].steal(f"r{place}", (), 7)]

        async def take_over(place: int) -> list[Task]:
            return [
                task for _ in range(30) for task in await ledgers[place].take_over(f"r{place}", seconds=60, limit=11)
            ]

        stolen = await asyncio.gather(*map(steal, range(3)))
        await _each_once(one, stolen, 200)
        await keep(one.ledger, *(queued(f"g{n}", owner="gone") for n in range(200)))
        taken = await asyncio.gather(*map(take_over, range(3)))
        # Those who stole before did not live, as far as others knew, until they said so.
        await _each_once(one, [[task for task in share if task.id[0] == "g"] for share in taken], 200)


async def _each_once(storage: Storage, shares: list[list[Task]], count: int) -> None:
    given = {task.id: task for share in shares for task in share}
    assert sum(map(len, shares)) == len(given) == count
    assert await storage.ledger.get(list(given)) == given


async def test_what_one_ledger_writes_the_other_sees(database_url: str) -> None:
    async with open_storage(database_url) as one, open_storage(database_url) as two:
        [task] = await keep(one.ledger, queued("a", idempotency_key="k"))
        assert await two.ledger.by_key("", "k") == task
        assert await two.ledger.commit([Change(queued("a"))]) == [EXISTS]
        assert await two.ledger.commit([Change(queued("b", idempotency_key="k"))]) == [EXISTS]
        active = await move(two.ledger, task, lifecycle.assign(task, "n", NOW))
        assert await one.ledger.commit([change(task, lifecycle.cancel(task, NOW))]) == [STALE]
        await move(one.ledger, active, lifecycle.succeed(active, NOW, b"1"))
        assert await two.ledger.counts() == Counts({TaskState.COMPLETED: 1}, {TaskState.COMPLETED: 1})


async def test_two_who_insert_the_same_at_once(database_url: str) -> None:
    async with open_storage(database_url) as one, open_storage(database_url) as two:

        async def insert(storage: Storage, owner: str) -> list[Verdict]:
            found: list[Verdict] = []
            for n in range(30):
                batch = [queued(f"{n}-{m}", owner=owner, idempotency_key=f"{n}-{m}") for m in range(5)]
                found += await storage.ledger.commit([Change(task) for task in batch])
            return found

        for verdicts in zip(*await asyncio.gather(insert(one, "a"), insert(two, "b")), strict=True):
            assert sorted(verdicts) == [DONE, EXISTS]
        assert (await one.ledger.counts()).now == {TaskState.QUEUED: 150}
