"""Checks what became of tasks while processes died: whether clients, nodes and the service tell one story.

Who makes a history notes four kinds of events, each with a moment of one clock, and what the service holds in the end.
Nodes must answer with the object `{"node", "attempt", "input"}`, where `input` is the key that the client chose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A client heard that the task with its idempotency key is in."""

    at: float
    key: str
    task: str


@dataclass(frozen=True, slots=True)
class Began:
    """A node was given an attempt."""

    at: float
    task: str
    attempt: int
    node: str


@dataclass(frozen=True, slots=True)
class Reported:
    """A node heard whether its report on an attempt counts. `ok`: it reported a result, not a failure."""

    at: float
    task: str
    attempt: int
    node: str
    counts: bool
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """A node was killed, or stopped for longer than it may be silent; without a node: a process of the service was."""

    at: float
    node: str = ""


Event = Accepted | Began | Reported | Fault


@dataclass(frozen=True, slots=True)
class Record:
    """What the service holds of a task in the end. `result` is what the node answered with."""

    task: str
    key: str
    state: str
    attempt: int
    retries: int
    node: str
    result: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Told:
    """The events of a history, sorted out."""

    accepted: list[Accepted]
    began: dict[str, list[Began]]  # by task
    reported: dict[str, list[Reported]]
    faults: list[Fault]
    lost: frozenset[str]  # nodes

    @classmethod
    def of(cls, events: Iterable[Event]) -> Told:
        accepted: list[Accepted] = []
        began, reported = defaultdict[str, list[Began]](list), defaultdict[str, list[Reported]](list)
        faults: list[Fault] = []
        for event in sorted(events, key=lambda event: event.at):
            match event:
                case Accepted():
                    accepted.append(event)
                case Began():
                    began[event.task].append(event)
                case Reported():
                    reported[event.task].append(event)
                case Fault():
                    faults.append(event)
        return cls(accepted, began, reported, faults, frozenset(fault.node for fault in faults if fault.node))


def check(
    events: Iterable[Event], records: Sequence[Record], *, asked: Collection[str], completed: int | None = None
) -> list[str]:
    """What is wrong, in words; nothing where the history is sound. `asked` are the keys that clients submitted,
    `completed` is how many completed tasks the service counts."""
    told = Told.of(events)
    found = [*_submissions(told, records, frozenset(asked))]
    for record in records:
        began, reported = told.began.get(record.task, []), told.reported.get(record.task, [])
        found += _outcome(record, began)
        found += _reports(record, began, reported)
        found += _runs(record.task, began, reported, told)
        found += _blame(record, began, reported, told)
    made_up = told.began.keys() - {record.task for record in records}
    found += [f"{task}: nodes were given it, and the service does not hold it" for task in sorted(made_up)]
    if completed is not None and completed != len(records):
        found.append(f"{completed} tasks are counted as completed, of {len(records)}")
    return found


def _submissions(told: Told, records: Sequence[Record], asked: frozenset[str]) -> Iterator[str]:
    """No accepted task is lost, none is there twice, none is made up."""
    held = {record.task: record for record in records}
    for task, count in Counter(record.task for record in records).items():
        if count > 1:
            yield f"{task}: held {count} times"
    for key, count in Counter(record.key for record in records).items():
        if count > 1:
            yield f"key {key}: {count} tasks have it"
        if key not in asked:
            yield f"key {key}: nobody submitted it"
    answers: dict[str, str] = {}
    for one in told.accepted:
        if answers.setdefault(one.key, one.task) != one.task:
            yield f"key {one.key}: its client was told of {answers[one.key]} and of {one.task}"
        if one.task not in held:
            yield f"{one.task}: accepted and lost"
        elif held[one.task].key != one.key:
            yield f"{one.task}: accepted for key {one.key}, held with key {held[one.task].key}"


def _outcome(record: Record, began: Sequence[Began]) -> Iterator[str]:
    """The result is one of an attempt that ran, and of the last one."""
    task = record.task
    if record.state != COMPLETED:
        yield f"{task}: is {record.state} in the end"
        return
    result = record.result or {}
    if (result.get("node"), result.get("attempt")) != (record.node, record.attempt):
        yield f"{task}: attempt {record.attempt} on {record.node} is recorded with the result of {dict(result)}"
    if result.get("input") != record.key:
        yield f"{task}: has the result of {result.get('input')}, its key is {record.key}"
    if not any((one.attempt, one.node) == (record.attempt, record.node) for one in began):
        yield f"{task}: attempt {record.attempt} on {record.node} is recorded and never ran there"
    later = max((one.attempt for one in began), default=0)
    if later > record.attempt:
        yield f"{task}: attempt {later} ran, attempt {record.attempt} is recorded"


def _reports(record: Record, began: Sequence[Began], reported: Sequence[Reported]) -> Iterator[str]:
    """One attempt's report counts: that of the attempt that is recorded."""
    task, ran = record.task, {(one.attempt, one.node) for one in began}
    for one in reported:
        if (one.attempt, one.node) not in ran:
            yield f"{task}: a report on attempt {one.attempt} by {one.node}, which was not given it"
        mine = (one.attempt, one.node) == (record.attempt, record.node)
        if one.counts and one.ok and not mine:
            yield f"{task}: the report on attempt {one.attempt} counts, attempt {record.attempt} is recorded"
        if not one.counts and one.ok and mine and record.state == COMPLETED:
            yield f"{task}: attempt {one.attempt} is recorded, and its report was refused"


def _runs(task: str, began: Sequence[Began], reported: Sequence[Reported], told: Told) -> Iterator[str]:
    """Each run has a number of its own; numbers go up; nothing runs again without a fault in between, and nothing that
    is recorded."""
    for attempt, count in Counter(one.attempt for one in began).items():
        if count > 1:
            yield f"{task}: attempt {attempt} was handed out {count} times"
    recorded = min((one.at for one in reported if one.counts and one.ok), default=float("inf"))
    failed = {one.attempt for one in reported if one.counts and not one.ok}
    last: Began | None = None
    for one in began:
        late = any(fault.node == one.node and fault.at <= one.at for fault in told.faults)
        if last is not None and one.attempt <= last.attempt:
            if not late:  # a node that was stopped reads what it was sent before
                yield f"{task}: attempt {one.attempt} began after attempt {last.attempt}"
            continue
        if one.at > recorded:
            yield f"{task}: attempt {one.attempt} began after a result was recorded"
        if last is not None and last.attempt not in failed and not _fault_between(last, one, told):
            yield f"{task}: attempt {one.attempt} began although nothing had happened to attempt {last.attempt}"
        last = one


def _fault_between(first: Began, second: Began, told: Told) -> bool:
    return any(
        fault.at <= second.at and (fault.node == first.node or (not fault.node and fault.at >= first.at))
        for fault in told.faults
    )


def _blame(record: Record, began: Sequence[Began], reported: Sequence[Reported], told: Told) -> Iterator[str]:
    """`retries` counts attempts that failed and those that lost their node, and no others. An attempt of which no node
    heard may have been lost with one that was about to get it; and after a fault of the service it is not known how far
    it was."""
    nodes = {one.attempt: one.node for one in began}
    failed = {one.attempt for one in reported if one.counts and not one.ok}
    earlier = range(1, record.attempt)
    certain = {one for one in earlier if one in failed or nodes.get(one) in told.lost}
    possible = certain | ({one for one in earlier if one not in nodes} if told.lost else set())
    if record.retries > len(possible):
        yield f"{record.task}: {record.retries} attempts are blamed, of at most {len(possible)}"
    unsure = any(not fault.node for fault in told.faults)
    if record.retries < len(certain) and not unsure:
        yield f"{record.task}: {record.retries} attempts are blamed, of at least {len(certain)}"
