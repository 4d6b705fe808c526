"""The ledger of tasks: the same on every back end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import MAX_RESULT, NOBODY, Task
from orchestrator.ports.ledger import Counts, TaskQuery, Verdict
from orchestrator.ports.store import Storage
from task_samples import NOW, change, finished, keep, move, queued

DONE, STALE, EXISTS = Verdict.DONE, Verdict.STALE, Verdict.EXISTS


def ids(found: tuple[Task, ...]) -> list[str]:
    return [task.id for task in found]


# Inserts


async def test_what_was_inserted_is_there(storage: Storage) -> None:
    [task] = await keep(storage.ledger, queued("a"))
    assert await storage.ledger.get(["a", "b"]) == {"a": task}
    assert await storage.ledger.get([]) == {}


async def test_an_id_is_taken_once_and_for_ever(storage: Storage) -> None:
    ledger = storage.ledger
    [task] = await keep(ledger, queued("a"))
    assert await ledger.commit([Change(queued("a", task_type="other"))]) == [EXISTS]
    assert await ledger.get(["a"]) == {"a": task}
    task = await move(ledger, task, lifecycle.cancel(task, NOW))
    assert await ledger.commit([Change(queued("a"))]) == [EXISTS], "also by a task that has finished"
    assert await ledger.get(["a"]) == {"a": task}
    assert (await ledger.counts()).now == {TaskState.CANCELLED: 1}


async def test_an_id_twice_in_one_commit_is_inserted_once(storage: Storage) -> None:
    first, second = queued("a"), queued("a", priority=1)
    assert await storage.ledger.commit([Change(first), Change(second)]) == [DONE, EXISTS]
    assert await storage.ledger.get(["a"]) == {"a": first}


async def test_an_id_that_comes_again_does_not_stop_what_becomes_of_the_first(storage: Storage) -> None:
    first, second = queued("a"), queued("a", priority=1)
    assigned = lifecycle.assign(first, "n", NOW)
    changes = [Change(first), Change(second), change(first, assigned)]
    assert await storage.ledger.commit(changes) == [DONE, EXISTS, DONE]
    assert await storage.ledger.get(["a"]) == {"a": assigned}
    released = lifecycle.release(assigned)
    again = queued("a").replace(version=assigned.version, state=assigned.state)
    assert await storage.ledger.commit([Change(again), change(assigned, released)]) == [EXISTS, DONE]


async def test_an_idempotency_key_belongs_to_its_principal(storage: Storage) -> None:
    ledger = storage.ledger
    ann, bob = (queued(name, principal=name, idempotency_key="k") for name in ("ann", "bob"))
    await keep(ledger, ann, bob)
    again = queued("again", principal="ann", idempotency_key="k")
    other = queued("other", principal="ann", idempotency_key="K")
    assert await ledger.commit([Change(again), Change(other)]) == [EXISTS, DONE]
    assert await ledger.by_key("ann", "k") == ann
    assert await ledger.by_key("bob", "k") == bob
    assert await ledger.by_key("ann", "K") == other
    assert await ledger.by_key("", "k") is None
    assert set(await ledger.get(["ann", "bob", "again", "other"])) == {"ann", "bob", "other"}


async def test_a_key_outlives_the_end_of_its_task(storage: Storage) -> None:
    ledger = storage.ledger
    task = await finished(ledger, queued("a", idempotency_key="k"))
    assert await ledger.by_key("", "k") == task
    assert await ledger.commit([Change(queued("b", idempotency_key="k"))]) == [EXISTS]


async def test_a_task_without_key_takes_none(storage: Storage) -> None:
    await keep(storage.ledger, queued("a"), queued("b"))
    assert await storage.ledger.by_key("", "") is None


@pytest.mark.parametrize("ended", [False, True], ids=["unfinished", "finished"])
async def test_an_insert_that_is_refused_for_its_id_leaves_no_key(storage: Storage, ended: bool) -> None:
    ledger = storage.ledger
    task = queued("a", idempotency_key="first")
    task = await finished(ledger, task) if ended else (await keep(ledger, task))[0]
    assert await ledger.commit([Change(queued("a", idempotency_key="second"))]) == [EXISTS]
    assert await ledger.by_key("", "second") is None
    assert await ledger.by_key("", "first") == task, "its own key is still its own"
    await keep(ledger, queued("b", idempotency_key="second"))


async def test_a_key_goes_to_the_first_insert_that_succeeds(storage: Storage) -> None:
    ledger = storage.ledger
    await keep(ledger, queued("taken"))
    tried = [queued(name, idempotency_key="k") for name in ("taken", "a", "b")]
    assert await ledger.commit([Change(task) for task in tried]) == [EXISTS, DONE, EXISTS]
    assert await ledger.by_key("", "k") == tried[1]


# Versions


async def test_a_change_from_an_old_version_writes_nothing(storage: Storage) -> None:
    ledger = storage.ledger
    [first] = await keep(ledger, queued("a"))
    second = await move(ledger, first, lifecycle.assign(first, "n", NOW))
    before = await ledger.counts()
    late = [lifecycle.cancel(first, NOW), lifecycle.assign(first, "m", NOW)]
    assert await ledger.commit([change(first, task) for task in late]) == [STALE, STALE]
    assert await ledger.get(["a"]) == {"a": second}
    assert await ledger.counts() == before


async def test_a_change_of_a_task_that_is_not_there_is_stale(storage: Storage) -> None:
    task = queued("a")
    moves = [lifecycle.assign(task, "n", NOW), lifecycle.cancel(task, NOW)]
    assert await storage.ledger.commit([change(task, moved) for moved in moves]) == [STALE, STALE]
    ended = lifecycle.cancel(task, NOW)
    assert await storage.ledger.commit([change(ended, lifecycle.replay(ended, "me", NOBODY, NOW))]) == [STALE]
    assert await storage.ledger.get(["a"]) == {}
    assert await storage.ledger.counts() == Counts()


async def test_what_has_finished_only_begins_anew(storage: Storage) -> None:
    ledger = storage.ledger
    [task] = await keep(ledger, queued("a"))
    active = await move(ledger, task, lifecycle.assign(task, "n", NOW))
    ended = await move(ledger, active, lifecycle.succeed(active, NOW, b"1"))
    for following in (lifecycle.cancel(active, NOW), lifecycle.release(active), lifecycle.succeed(active, NOW, b"2")):
        assert await ledger.commit([change(active, following)]) == [STALE]
    assert await ledger.get(["a"]) == {"a": ended}


async def test_of_two_who_change_one_task_at_once_one_is_late(storage: Storage) -> None:
    ledger = storage.ledger
    for _ in range(20):
        [task] = await keep(ledger, queued())
        ways = [lifecycle.assign(task, "n", NOW), lifecycle.cancel(task, NOW), lifecycle.assign(task, "m", NOW)]
        verdicts = await asyncio.gather(*(ledger.commit([change(task, way)]) for way in ways))
        assert sorted(verdict for [verdict] in verdicts) == [DONE, STALE, STALE]
        [winner] = [way for way, [verdict] in zip(ways, verdicts, strict=True) if verdict is DONE]
        assert await ledger.get([task.id]) == {task.id: winner}


# Whole lives


async def test_a_life_in_one_commit(storage: Storage) -> None:
    task = queued("a")
    active = lifecycle.assign(task, "n", NOW)
    running = lifecycle.start(active, NOW)
    ended = lifecycle.succeed(running, NOW + 1, b"{}")
    steps = [task, active, running, ended]
    changes = [change(old, new) for old, new in zip([None, *steps], steps, strict=False)]
    assert await storage.ledger.commit(changes) == [DONE] * 4
    assert await storage.ledger.get(["a"]) == {"a": ended}
    assert await storage.ledger.counts() == Counts({TaskState.COMPLETED: 1}, {TaskState.COMPLETED: 1})


async def test_one_late_change_takes_its_followers_with_it_and_nobody_else(storage: Storage) -> None:
    ledger = storage.ledger
    first, second = await keep(ledger, queued("a"), queued("b"))
    moved = await move(ledger, first, lifecycle.assign(first, "n", NOW))
    late = lifecycle.assign(first, "m", NOW)
    lost = lifecycle.release(late.replace(version=9))
    other = lifecycle.assign(second, "n", NOW)
    new = queued("c")
    changes = [change(first, late), change(second, other), Change(lost, 9, TaskState.ASSIGNED), Change(new)]
    assert await ledger.commit(changes) == [STALE, DONE, STALE, DONE]
    assert await ledger.get(["a", "b", "c"]) == {"a": moved, "b": other, "c": new}


async def test_results_are_kept_byte_for_byte(storage: Storage) -> None:
    ledger = storage.ledger
    odd = ' { "b":1.0, "a" : [1e400, "\\u0000\\ud800é😀"],  "b": 2 }\n'.encode()
    big = b'"' + b"x" * (MAX_RESULT - 2) + b'"'
    [task] = await keep(ledger, queued("a"))
    active = await move(ledger, task, lifecycle.assign(task, "n", NOW))
    ended = await move(ledger, active, lifecycle.succeed(active, NOW, odd, agent="é", performance=big))
    found = (await ledger.get(["a"]))["a"]
    assert (found.result, found.performance, found.agent) == (odd, big, "é")
    assert found == ended == (await ledger.page(TaskQuery()))[0]


async def test_a_replayed_task_is_unfinished_again(storage: Storage) -> None:
    ledger = storage.ledger
    [task] = await keep(ledger, queued("a", idempotency_key="k", max_retries=0))
    active = await move(ledger, task, lifecycle.assign(task, "n", NOW))
    failed = await move(ledger, active, lifecycle.fail(active, NOW, "no", 0.0))
    again = await move(ledger, failed, lifecycle.replay(failed, "you", NOBODY, NOW))
    assert await ledger.get(["a"]) == {"a": again}
    assert await ledger.by_key("", "k") == again
    assert again.result is None
    assert (again.attempt, again.replays, again.owner) == (1, 1, "you")
    assert await ledger.commit([change(failed, lifecycle.replay(failed, "me", NOBODY, NOW))]) == [STALE], "once"
    assert await ledger.counts() == Counts({TaskState.QUEUED: 1}, {TaskState.FAILED: 1})
    active = await move(ledger, again, lifecycle.assign(again, "n", NOW))
    await move(ledger, active, lifecycle.succeed(active, NOW, b"1"))
    ended = {TaskState.FAILED: 1, TaskState.COMPLETED: 1}
    assert await ledger.counts() == Counts({TaskState.COMPLETED: 1}, ended)


async def test_replay_and_end_in_one_commit(storage: Storage) -> None:
    ledger = storage.ledger
    [task] = await keep(ledger, queued("a"))
    ended = await move(ledger, task, lifecycle.cancel(task, NOW))
    again = lifecycle.replay(ended, "me", NOBODY, NOW)
    once_more = lifecycle.cancel(again, NOW + 1)
    assert await ledger.commit([change(ended, again), change(again, once_more)]) == [DONE, DONE]
    assert await ledger.get(["a"]) == {"a": once_more}
    assert await ledger.counts() == Counts({TaskState.CANCELLED: 1}, {TaskState.CANCELLED: 2})


async def test_a_batch_of_a_thousand(storage: Storage) -> None:
    ledger = storage.ledger
    every = await keep(ledger, *(queued(principal=f"p{n % 3}", idempotency_key=f"{n}") for n in range(1_000)))
    active = [lifecycle.assign(task, f"n{n % 7}", NOW) for n, task in enumerate(every)]
    assert await ledger.commit([change(*pair) for pair in zip(every, active, strict=True)]) == [DONE] * 1_000
    ended = [lifecycle.succeed(task, NOW, f"{n}".encode()) for n, task in enumerate(active)]
    # Every tenth is late.
    changes = [change(old if n % 10 else every[n], new) for n, (old, new) in enumerate(zip(active, ended, strict=True))]
    assert await ledger.commit(changes) == [DONE if n % 10 else STALE for n in range(1_000)]
    found = await ledger.get([task.id for task in every])
    assert found == {old.id: (new if n % 10 else old) for n, (old, new) in enumerate(zip(active, ended, strict=True))}
    now = {TaskState.ASSIGNED: 100, TaskState.COMPLETED: 900}
    assert await ledger.counts() == Counts(now, {TaskState.COMPLETED: 900})


async def test_an_empty_commit_is_nothing(storage: Storage) -> None:
    assert await storage.ledger.commit([]) == []


# Pages


async def _fill(storage: Storage) -> None:
    """Twelve tasks t0 to t11 in the order in which they came: finished ones and others by turns."""
    for n in range(12):
        task = queued(f"t{n}", seq=100 + n, task_type="ab"[n % 2], principal=["", "ann", "bob"][n % 3])
        if n % 4 == 0:
            await finished(storage.ledger, task, node="n0")
        else:
            [task] = await keep(storage.ledger, task)
            if n % 4 == 1:
                await move(storage.ledger, task, lifecycle.assign(task, "n1", NOW))
            elif n % 4 == 2:
                await move(storage.ledger, task, lifecycle.cancel(task, NOW))


PAGES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ({"limit": 3}, [11, 10, 9]),
    ({"limit": 3, "offset": 2}, [9, 8, 7]),
    ({"limit": 5, "offset": 10}, [1, 0]),
    ({"offset": 12}, []),
    ({"limit": 0}, []),
    ({"before": 105}, [4, 3, 2, 1, 0]),
    ({"before": 105, "limit": 2, "offset": 1}, [3, 2]),
    ({"before": 100}, []),
    ({"states": FINISHED}, [10, 8, 6, 4, 2, 0]),
    ({"states": frozenset({TaskState.QUEUED})}, [11, 7, 3]),
    ({"states": frozenset({TaskState.QUEUED, TaskState.COMPLETED})}, [11, 8, 7, 4, 3, 0]),
    ({"states": frozenset({TaskState.COMPLETED}), "before": 108, "limit": 1}, [4]),
    ({"states": frozenset({TaskState.FAILED})}, []),
    ({"type": "b"}, [11, 9, 7, 5, 3, 1]),
    ({"type": "c"}, []),
    ({"node": "n0"}, [8, 4, 0]),
    ({"node": "n1", "limit": 2}, [9, 5]),
    ({"principal": ""}, [9, 6, 3, 0]),
    ({"principal": "bob", "type": "a"}, [8, 2]),
    ({"principal": "bob", "type": "a", "node": "n0", "states": FINISHED, "before": 109}, [8]),
    ({"type": "a\0"}, []),
    ({"node": "\ud800"}, []),
    ({"principal": "x" * 600}, []),
]


async def test_pages_are_newest_first_over_finished_and_unfinished(storage: Storage) -> None:
    await _fill(storage)
    for fields, expected in PAGES:
        found = await storage.ledger.page(TaskQuery(**fields))
        assert ids(found) == [f"t{n}" for n in expected], fields


# Counts


def _random_step(task: Task, rand: random.Random) -> Task:
    """Some change that can happen to the task."""
    if task.state is TaskState.COMPLETED:
        return task
    if task.state.finished:
        return lifecycle.replay(task, "me", NOBODY, NOW)
    if rand.random() < 0.15:
        return lifecycle.cancel(task, NOW)
    if task.state in (TaskState.WAITING, TaskState.RETRYING):
        return lifecycle.wake(task)
    if task.state is TaskState.QUEUED:
        return lifecycle.assign(task, rand.choice("nm"), NOW)
    ways = [
        lambda: lifecycle.succeed(task, NOW, b"1"),
        lambda: lifecycle.fail(task, NOW, "no", 0.5),
        lambda: lifecycle.expire(task, NOW, 0.5),
        lambda: lifecycle.lose_node(task, NOW),
        lambda: lifecycle.release(task),
        lambda: lifecycle.report(task, 0.5, "half"),
    ]
    return rand.choice(ways)()


async def test_counts_are_exact_after_random_work(storage: Storage) -> None:
    ledger, rand = storage.ledger, random.Random(7)
    held: dict[str, Task] = {}
    ended: Counter[TaskState] = Counter()
    for _ in range(60):
        changes: list[Change] = []
        ahead = dict(held)
        for _ in range(rand.randrange(30)):
            if rand.random() < 0.3 or not ahead:
                new = queued(max_retries=rand.randrange(3))
                changes.append(Change(new))
                ahead[new.id] = new
            else:
                old = ahead[rand.choice(list(ahead))]
                new = _random_step(old, rand)
                if new is not old:
                    changes.append(change(old, new))
                    ahead[new.id] = new
        late = held[rand.choice(list(held))] if held else None
        if late is not None and not late.state.finished:  # behind all others: the version has changed, or changes now
            changes += [Change(lifecycle.cancel(late, NOW), late.version + 50, late.state)]
        verdicts = await ledger.commit(changes)
        for one, verdict in zip(changes, verdicts, strict=True):
            if verdict is DONE:
                ended[one.task.state] += one.task.state.finished
        held = ahead
    assert await ledger.get(held) == held
    now = Counter(task.state for task in held.values())
    assert await ledger.counts() == Counts(dict(now), {state: n for state, n in ended.items() if n})
