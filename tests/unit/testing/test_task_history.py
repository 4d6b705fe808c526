"""The history checker finds each kind of violation, and nothing in a sound history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from orchestrator.testing.task_history import Accepted, Began, Event, Fault, Record, Reported, check


def record(task: str, attempt: int = 1, node: str = "n", *, retries: int = 0) -> Record:
    key = f"key of {task}"
    result = {"node": node, "attempt": attempt, "input": key}
    return Record(task, key, "completed", attempt, retries, node, result)


@dataclass
class History:
    """`a` ran once on `n`. `b` ran on `m`, which was lost, and then on `n`. `c` was running when the service was killed
    and ran again; its first report was refused. `d` failed once."""

    events: list[Event] = field(
        default_factory=lambda: [
            Accepted(1.0, "key of a", "a"),
            Accepted(1.0, "key of b", "b"),
            Accepted(1.0, "key of c", "c"),
            Began(2.0, "a", 1, "n"),
            Began(2.0, "b", 1, "m"),
            Reported(3.0, "a", 1, "n", True),
            Fault(4.0, "m"),
            Began(5.0, "b", 2, "n"),
            Reported(6.0, "b", 2, "n", True),
            Began(7.0, "c", 1, "n"),
            Fault(8.0),
            Accepted(8.5, "key of d", "d"),
            Began(9.0, "c", 2, "n"),
            Reported(9.1, "c", 1, "n", False),
            Reported(9.2, "c", 2, "n", True),
            Began(9.3, "d", 1, "n"),
            Reported(9.4, "d", 1, "n", True, ok=False),
            Began(9.5, "d", 2, "n"),
            Reported(9.6, "d", 2, "n", True),
        ]
    )
    records: dict[str, Record] = field(
        default_factory=lambda: {
            one.task: one for one in (record("a"), record("b", 2, retries=1), record("c", 2), record("d", 2, retries=1))
        }
    )
    asked: set[str] = field(default_factory=lambda: {f"key of {task}" for task in "abcd"})
    more: list[Record] = field(default_factory=list)
    completed: int = 4

    def check(self) -> list[str]:
        records = [*self.records.values(), *self.more]
        return check(self.events, records, asked=self.asked, completed=self.completed)

    def change(self, task: str, **fields: object) -> None:
        self.records[task] = replace(self.records[task], **fields)  # type: ignore[arg-type]

    def drop(self, kind: type[Accepted | Began], task: str, attempt: int = 1) -> None:
        gone = [one for one in self.events if isinstance(one, kind) and one.task == task]
        gone = [one for one in gone if isinstance(one, Accepted) or one.attempt == attempt]
        self.events = [one for one in self.events if one not in gone]

    def keep_the_service(self) -> None:
        """It was never away."""
        self.events = [one for one in self.events if not isinstance(one, Fault) or one.node]

    def add(self, *events: Event) -> None:
        self.events += events


def test_a_sound_history() -> None:
    assert History().check() == []


def test_the_order_in_which_events_were_noted_does_not_matter() -> None:
    history = History()
    history.events.reverse()
    assert history.check() == []


def test_a_task_that_was_not_accepted_may_be_there() -> None:
    history = History()
    history.drop(Accepted, "a")
    assert history.check() == []


def test_a_stopped_node_may_begin_late_what_it_was_sent() -> None:
    history = History()
    history.drop(Began, "b", 1)
    history.add(Began(20.0, "b", 1, "m"), Reported(21.0, "b", 1, "m", False))
    assert history.check() == []


def test_an_attempt_of_which_no_node_heard_may_be_one_of_a_lost_node() -> None:
    history = History()
    history.drop(Began, "b", 1)
    assert history.check() == []


def test_after_a_fault_of_the_service_a_lost_node_may_be_unknown() -> None:
    history = History()
    history.change("b", retries=0)
    assert history.check() == []


Mutation = Callable[[History], object]
VIOLATIONS: dict[str, tuple[Mutation, str]] = {
    "lost": (lambda h: h.records.pop("a"), "a: accepted and lost"),
    "held twice": (lambda h: h.more.append(h.records["a"]), "a: held 2 times"),
    "two tasks for one key": (
        lambda h: h.more.append(replace(h.records["a"], task="e")),
        "key key of a: 2 tasks have it",
    ),
    "made up": (lambda h: h.asked.discard("key of a"), "key key of a: nobody submitted it"),
    "a client was told of two tasks": (
        lambda h: h.add(Accepted(9.9, "key of a", "b")),
        "key key of a: its client was told of a and of b",
    ),
    "accepted for another key": (
        lambda h: h.change("a", key="key of b"),
        "a: accepted for key key of a, held with key key of b",
    ),
    "unknown to the service": (
        lambda h: h.add(Began(2.0, "e", 1, "n")),
        "e: nodes were given it, and the service does not hold it",
    ),
    "not finished": (lambda h: h.change("a", state="running"), "a: is running in the end"),
    "counted twice": (lambda h: setattr(h, "completed", 5), "5 tasks are counted as completed, of 4"),
    "counted too rarely": (lambda h: setattr(h, "completed", 3), "3 tasks are counted as completed, of 4"),
    "the result of an earlier attempt": (
        lambda h: h.change("c", result={"node": "n", "attempt": 1, "input": "key of c"}),
        "c: attempt 2 on n is recorded with the result of",
    ),
    "the result of another node": (
        lambda h: h.change("b", result={"node": "m", "attempt": 2, "input": "key of b"}),
        "b: attempt 2 on n is recorded with the result of",
    ),
    "no result": (lambda h: h.change("a", result=None), "a: attempt 1 on n is recorded with the result of {}"),
    "the result of another task": (
        lambda h: h.change("a", result={"node": "n", "attempt": 1, "input": "key of b"}),
        "a: has the result of key of b, its key is key of a",
    ),
    "never ran": (lambda h: h.drop(Began, "a"), "a: attempt 1 on n is recorded and never ran there"),
    "a later attempt ran": (
        lambda h: h.add(Began(9.9, "a", 2, "n")),
        "a: attempt 2 ran, attempt 1 is recorded",
    ),
    "a report on what was not given": (
        lambda h: h.add(Reported(9.9, "a", 7, "n", False)),
        "a: a report on attempt 7 by n, which was not given it",
    ),
    "two reports count": (
        lambda h: h.add(Reported(9.9, "c", 1, "n", True)),
        "c: the report on attempt 1 counts, attempt 2 is recorded",
    ),
    "what is recorded was refused": (
        lambda h: h.add(Reported(9.9, "a", 1, "n", False)),
        "a: attempt 1 is recorded, and its report was refused",
    ),
    "an attempt was handed out twice": (
        lambda h: h.add(Began(2.1, "a", 1, "n")),
        "a: attempt 1 was handed out 2 times",
    ),
    "an attempt on two nodes": (
        lambda h: h.add(Began(2.1, "a", 1, "o")),
        "a: attempt 1 was handed out 2 times",
    ),
    "attempts go back": (
        lambda h: (h.drop(Began, "c", 1), h.add(Began(9.15, "c", 1, "n"))),
        "c: attempt 1 began after attempt 2",
    ),
    "it ran after it was recorded": (
        lambda h: h.add(Began(9.9, "a", 2, "n")),
        "a: attempt 2 began after a result was recorded",
    ),
    "it ran again without a cause": (
        lambda h: h.keep_the_service(),
        "c: attempt 2 began although nothing had happened to attempt 1",
    ),
    "it ran again before the cause": (
        lambda h: (h.drop(Began, "c", 2), h.add(Began(7.5, "c", 2, "n"))),
        "c: attempt 2 began although nothing had happened to attempt 1",
    ),
    "nobody is to blame": (lambda h: h.change("c", retries=1), "c: 1 attempts are blamed, of at most 0"),
    "blamed twice": (lambda h: h.change("b", retries=2), "b: 2 attempts are blamed, of at most 1"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_found(name: str) -> None:
    mutate, expected = VIOLATIONS[name]
    history = History()
    mutate(history)
    found = history.check()
    assert any(one.startswith(expected) for one in found), found


@pytest.mark.parametrize("task", ["b", "d"])
def test_a_lost_or_failed_attempt_that_is_not_counted_is_found(task: str) -> None:
    history = History()
    history.keep_the_service()
    history.events = [one for one in history.events if getattr(one, "task", "") != "c"]
    del history.records["c"]
    history.completed = 3
    assert history.check() == []
    history.change(task, retries=0)
    assert history.check() == [f"{task}: 0 attempts are blamed, of at least 1"]
