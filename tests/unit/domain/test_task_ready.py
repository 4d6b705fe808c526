from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.domain.task.ready import SHARE, Ready, ReadySet
from orchestrator.domain.task.requirements import Requirements, TaskClass

GPU = TaskClass("gpu", Requirements(frozenset({"gpu"})))
NOOP = TaskClass("noop")


def everywhere(_number: int) -> bool:
    return True


def a_set(*ready: Ready) -> ReadySet:
    found = ReadySet()
    for number in range(3):
        assert found.number(TaskClass(f"c{number}")) == number
    for one in ready:
        found.add(one)
    return found


def one(seq: int, *, number: int = 0, priority: int = 3, principal: str = "") -> Ready:
    return Ready(f"t{seq}", seq, number, priority, principal)


def drained(ready: ReadySet, has_room: Callable[[int], bool] = everywhere) -> Iterator[Ready]:
    while (following := ready.next(has_room)) is not None:
        ready.take(following)
        yield following


def seqs(found: Iterable[Ready]) -> list[int]:
    return [ready.seq for ready in found]


def test_an_empty_set_has_nothing() -> None:
    ready = ReadySet()
    assert ready.next(everywhere) is None
    assert len(ready) == 0
    assert "t1" not in ready
    assert not ready.discard("t1")
    assert ready.ahead("t1") is None
    assert list(ready.by_class()) == []


def test_next_leaves_the_task_until_it_is_taken() -> None:
    ready = a_set(one(1))
    assert ready.next(everywhere) == ready.next(everywhere) == one(1)
    assert "t1" in ready
    ready.take(one(1))
    assert "t1" not in ready
    assert ready.next(everywhere) is None


def test_equal_classes_have_one_number() -> None:
    ready = ReadySet()
    again = TaskClass("gpu", Requirements(frozenset({"gpu"})))
    assert [ready.number(GPU), ready.number(NOOP), ready.number(again)] == [0, 1, 0]
    assert ready.classes == [GPU, NOOP]


def test_the_best_priority_goes_first_and_then_who_came_first() -> None:
    ready = a_set(one(1, priority=5), one(2), one(3, priority=1), one(4), one(5, priority=1), one(6, priority=2))
    assert seqs(drained(ready)) == [3, 5, 6, 2, 4, 1]


@pytest.mark.parametrize("order", list(permutations([1, 2, 3, 4])))
def test_tasks_that_come_back_go_before_later_ones(order: tuple[int, ...]) -> None:
    ready = a_set(one(5), one(6), *map(one, order), one(7))
    assert seqs(drained(ready)) == [1, 2, 3, 4, 5, 6, 7]


def test_tasks_that_came_at_one_moment_are_all_there() -> None:
    """Two replicas may give the same `seq`; one of them takes over the other's tasks."""
    same = [Ready(name, 1, 0, 3, "") for name in "cab"]
    ready = a_set(*same)
    assert ready.ahead("c") == 2
    assert [task.id for task in drained(ready)] == ["a", "b", "c"]
    ready = a_set(*same)
    assert ready.discard("a")
    assert [task.id for task in drained(ready)] == ["b", "c"]


def test_principals_take_turns_whatever_they_have_queued() -> None:
    many = [one(n, principal="ann") for n in range(1, 7)]
    ready = a_set(*many, one(10, principal="bob"), one(11, principal="bob"), one(12, principal="cid"))
    assert seqs(drained(ready)) == [1, 10, 12, 2, 11, 3, 4, 5, 6]


def test_a_turn_counts_whatever_priority_it_was() -> None:
    ready = a_set(one(1, principal="ann", priority=1), one(2, principal="ann"), one(3, principal="bob"))
    assert seqs(drained(ready)) == [1, 3, 2]


def test_a_principal_without_room_keeps_its_turn() -> None:
    ready = a_set(one(1, number=1, principal="ann"), *(one(n, principal="bob") for n in (2, 3, 4)))
    ready.add(one(5, number=1, principal="ann"))
    assert ready.next(lambda number: number == 0) == one(2, principal="bob")
    ready.take(one(2, principal="bob"))
    ready.unblock(everywhere)
    assert seqs(drained(ready)) == [1, 3, 5, 4]


def test_a_stream_of_better_ones_does_not_starve_a_worse_one() -> None:
    ready = a_set(*(one(n, priority=1) for n in range(1, 101)), one(500, priority=5), one(501, priority=3))
    order = seqs(drained(ready))
    # Both have waited long enough at once: the better one goes first.
    assert order[SHARE : SHARE + 2] == [501, 500]
    assert order[:SHARE] == list(range(1, SHARE + 1))


def test_every_priority_gets_its_part_of_a_long_queue() -> None:
    ready = a_set(*(one(n, priority=1 + n % 5) for n in range(5_000)))
    order = list(drained(ready))
    first = Counter(task.priority for task in order[:680])
    assert first[1] == max(first.values()) > 500
    assert min(first[priority] for priority in range(2, 6)) >= 680 // SHARE // 2
    assert sorted(seqs(order)) == list(range(5_000))


def test_a_head_without_room_delays_nothing_behind_it() -> None:
    blocked = [one(n, number=1, priority=1) for n in range(1, 50)]
    ready = a_set(*blocked, *(one(n) for n in range(50, 60)))
    assert seqs(drained(ready, lambda number: number == 0)) == list(range(50, 60))
    asked: list[int] = []

    def never(number: int) -> bool:
        asked.append(number)
        return False

    assert ready.next(never) is None
    assert asked == [], "what is set aside costs nothing"
    ready.unblock(never)
    assert asked == [1]
    assert ready.next(never) is None
    ready.unblock(everywhere)
    assert seqs(drained(ready)) == list(range(1, 50))


def test_a_starved_class_without_room_does_not_hold_up_others() -> None:
    ready = a_set(one(1, number=1, priority=5), *(one(n, priority=1) for n in range(2, 102)))
    assert seqs(drained(ready, lambda number: number == 0)) == list(range(2, 102))
    ready.add(one(200, priority=1))
    ready.unblock(everywhere)
    assert seqs(drained(ready)) == [1, 200]


def test_what_is_added_to_a_class_that_is_set_aside_waits_with_it() -> None:
    ready = a_set(one(1))
    ready.set_aside(0)
    ready.add(one(2))
    ready.add(one(0))
    assert ready.next(everywhere) is None
    ready.unblock(everywhere)
    assert seqs(drained(ready)) == [0, 1, 2]


def test_counts_by_class_and_what_is_ahead() -> None:
    ready = a_set(one(1), one(2, number=1), one(3, priority=1), one(4, principal="ann"), one(5))
    assert [ready.ahead(f"t{n}") for n in (1, 2, 3, 4, 5)] == [1, 0, 0, 2, 3]
    assert dict(ready.by_class()) == {TaskClass("c0"): 4, TaskClass("c1"): 1}
    assert ready.discard("t2")
    assert dict(ready.by_class()) == {TaskClass("c0"): 4}


def test_long_work_leaves_nothing_behind() -> None:
    """Classes that come, go and are set aside by turns: no list of the set may grow with the work that is done."""
    ready, rand = a_set(one(1, number=2)), random.Random(1)
    for seq in range(2, 20_000):
        ready.add(one(seq, number=seq % 2))
        if seq % 3 == 0:
            ready.set_aside(seq % 2)
            ready.unblock(everywhere)
        following = ready.next(lambda number: number != 2)
        assert following is not None
        ready.take(following)
        if rand.random() < 0.1:
            ready.add(following)
            ready.discard(following.id)
    [share] = ready._shares[3].values()
    assert len(share.heads) < 50


def test_a_class_without_room_costs_nothing_however_many_wait_for_it() -> None:
    ready = a_set(*(one(seq, principal=f"p{seq}") for seq in range(2_000)))
    free, asked = 1, 0

    def has_room(_number: int) -> bool:
        nonlocal asked
        asked += 1
        return free > 0

    touched = 0
    for seq in range(1_000):
        free = 1
        ready.unblock(has_room)
        following = ready.next(has_room)
        assert following == one(seq, principal=f"p{seq}")
        ready.take(following)
        free = 0
        assert ready.next(has_room) is None
        assert ready.next(has_room) is None
        touched += sum(map(len, ready._aside.shares.values()))
    assert asked <= 3_000
    assert touched <= 1_000, "only who was asked is listed anew when there is room"


def test_who_came_and_went_while_there_was_no_room_is_forgotten() -> None:
    ready = a_set(one(0))
    assert ready.next(lambda number: False) is None
    for seq in range(1, 50):
        ready.add(one(seq, principal=f"p{seq}"))
        assert ready.discard(f"t{seq}")
    assert sum(map(len, ready._aside.shares.values())) == 1
    assert seqs(drained(ready)) == []
    ready.unblock(everywhere)
    assert seqs(drained(ready)) == [0]


class Model:
    """The rules as they are written, by looking at every task."""

    def __init__(self) -> None:
        self.tasks: dict[str, Ready] = {}
        self.served: dict[str, int] = {}
        self.passed = dict.fromkeys(range(1, 6), 0)
        self.turn = 0

    def add(self, ready: Ready) -> None:
        self.tasks[ready.id] = ready
        if ready.principal not in self.served:
            self._serve(ready.principal)

    def _serve(self, principal: str) -> None:
        self.turn += 1
        self.served[principal] = self.turn

    def discard(self, task_id: str) -> None:
        ready = self.tasks.pop(task_id)
        if all(other.principal != ready.principal for other in self.tasks.values()):
            del self.served[ready.principal]

    def next(self, rooms: set[int]) -> Ready | None:
        waiting = {task.priority for task in self.tasks.values()}
        fit = [task for task in self.tasks.values() if task.number in rooms]

        def key(task: Ready) -> tuple[bool, int, int, int, str]:
            starved = task.priority in waiting and self.passed[task.priority] >= SHARE
            return not starved, task.priority, self.served[task.principal], task.seq, task.id

        return min(fit, key=key, default=None)

    def take(self, ready: Ready) -> None:
        self._serve(ready.principal)
        self.passed[ready.priority] = 0
        self.discard(ready.id)
        for lower in {task.priority for task in self.tasks.values() if task.priority > ready.priority}:
            self.passed[lower] += 1


class ReadyMachine(RuleBasedStateMachine):
    """The set does what the model does, whatever comes, goes and has room."""

    def __init__(self) -> None:
        super().__init__()
        self.ready, self.model = a_set(), Model()
        self.rooms: set[int] = {0, 1, 2}
        self.made = 0

    @rule(
        count=st.integers(1, 25),
        seq=st.integers(0, 30),
        number=st.integers(0, 2),
        priority=st.integers(1, 5),
        principal=st.sampled_from(["", "ann", "bob"]),
    )
    def add(self, count: int, seq: int, number: int, priority: int, principal: str) -> None:
        for _ in range(count):
            self.made += 1
            ready = Ready(f"t{self.made}", seq, number, priority, principal)
            self.ready.add(ready)
            self.model.add(ready)

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        if self.model.tasks:
            task_id = data.draw(st.sampled_from(sorted(self.model.tasks)))
            assert self.ready.discard(task_id)
            self.model.discard(task_id)
        assert not self.ready.discard("nobody")

    @rule(rooms=st.sets(st.integers(0, 2)), aside=st.integers(0, 2))
    def change_rooms(self, rooms: set[int], aside: int) -> None:
        self.ready.set_aside(aside)
        self.rooms = rooms
        self.ready.unblock(self.has_room)

    @rule(count=st.integers(1, 40))
    def take(self, count: int) -> None:
        for _ in range(count):
            following = self.ready.next(self.has_room)
            aside = {number for number in (0, 1, 2) if number in self.rooms and number in self.ready._aside.shares}
            assert following == self.model.next(self.rooms - aside)
            if following is None:
                return
            self.ready.take(following)
            self.model.take(following)

    def has_room(self, number: int) -> bool:
        return number in self.rooms

    @invariant()
    def same(self) -> None:
        tasks = self.model.tasks
        assert len(self.ready) == len(tasks)
        classes = Counter(self.ready.classes[task.number] for task in tasks.values())
        assert dict(self.ready.by_class()) == dict(classes)
        for task in list(tasks.values())[:3]:
            key = (task.priority, task.seq, task.id)
            others = [other for other in tasks.values() if other.number == task.number]
            assert self.ready.ahead(task.id) == sum((o.priority, o.seq, o.id) < key for o in others)


TestReadyMachine = ReadyMachine.TestCase
TestReadyMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
