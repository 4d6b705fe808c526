"""Tasks as rows. What is searched for has a column of its own; the rest is JSON: `spec` is written once, `rest` with
every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from orchestrator.adapters.sql.ledger.documents import RestDocument, SpecDocument
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.state import FINISHED, VALUES, TaskState
from orchestrator.domain.task.storable import check_progress, check_spec
from orchestrator.domain.task.task import Backoff, OnDependencyFailure, Task, TaskSpec
from orchestrator.ports.ledger import Counts, TaskQuery, Verdict

# Columns of both tables, in the order of `fixed` and `moving`.
FIXED = ("id", "seq", "type", "principal", "priority", "input", "metadata", "requirements", "spec")
MOVING = ("state", "node", "owner", "version", "rest")
ALL = (*FIXED, *MOVING)
ENDED = (*ALL, "result", "performance", "finished_at")
ACTIVE = sorted(state.value for state in TaskState if state.active)
IDLE = sorted(state.value for state in TaskState if not (state.active or state.finished))
READ_HOT = f"{', '.join(ALL)}, NULL, NULL, NULL"
READ_ENDED = ", ".join(ENDED)


_encode = msgspec.json.Encoder().encode
_spec = msgspec.json.Decoder(SpecDocument)
_rest = msgspec.json.Decoder(RestDocument)
_NO_LIMITS = Requirements()
_STANDARD = (_NO_LIMITS.min_cpu, _NO_LIMITS.min_memory, _NO_LIMITS.max_load)
DONE: Final = Verdict.DONE
_RUN: Final = OnDependencyFailure.RUN
_CREATED = '{"created_at":'  # how a text of `SpecDocument` begins
_STATES = {state.value: state for state in TaskState}


def check(changes: Sequence[Change]) -> None:
    """Raises InvalidRequest for what a database would refuse or alter."""
    for change in changes:
        check_progress(change.task)
        if change.expected == 0:
            check_spec(change.task.spec)


class Chains:
    """Changes, those of one task that follow from each other as one. What is submitted and handed out at the same
    moment is written once. `places` tells for each change of which of the `merged` it is part; `apart` whether no task
    is in two of those."""

    __slots__ = ("apart", "merged", "places")

    def __init__(self, changes: Sequence[Change]) -> None:
        self.merged: list[Change] = []
        self.places: list[int] = []
        self.apart = True
        merged, places = self.merged, self.places
        latest: dict[str, int] = {}
        for change in changes:
            place = latest.get(change.task.spec.id)
            if place is not None:
                earlier = merged[place]
                if _follows(change, earlier):
                    merged[place] = Change(change.task, earlier.expected, earlier.before)
                    places.append(place)
                    continue
                self.apart = False
            latest[change.task.spec.id] = len(merged)
            places.append(len(merged))
            merged.append(change)


def _follows(change: Change, earlier: Change) -> bool:
    """Whether it can be made together with an earlier one of that id, which may be another task. A task that has ended
    is in the other table."""
    task, before = earlier.task, earlier.before
    if task.spec is not change.task.spec or not change.expected or (before is not None and before in FINISHED):
        return False
    return task.version == change.expected and task.state is change.before and task.state not in FINISHED


def unchained(verdicts: Sequence[Verdict], places: Sequence[int]) -> list[Verdict]:
    """What became of each change. One that follows from a change which was not written is late."""
    found: list[Verdict] = []
    seen: set[int] = set()
    for place in places:
        verdict = verdicts[place]
        found.append(verdict if verdict is DONE or place not in seen else Verdict.STALE)
        seen.add(place)
    return found


def fixed(task: Task) -> tuple[Any, ...]:
    """What never changes, in the order of `FIXED`."""
    spec = task.spec
    texts = (spec.input.decode(), spec.metadata.decode(), spec.requirements.decode())
    return spec.id, spec.seq, spec.of.type, spec.principal, spec.priority, *texts, _write_spec(spec)


def moving(task: Task) -> tuple[Any, ...]:
    """What changes, in the order of `MOVING`."""
    rest = RestDocument(
        task.attempt,
        task.retries,
        task.agent,
        tuple(sorted(task.waiting_for)) if task.waiting_for else (),
        task.wake_at,
        task.assigned_at,
        task.started_at,
        task.error,
        task.progress,
        task.note,
        task.replays,
    )
    return VALUES[task.state], task.node, task.owner, task.version, _encode(rest).decode()


def ending(task: Task) -> tuple[Any, ...]:
    """What only finished tasks have: result, performance, finished_at."""
    return _text(task.result), _text(task.performance), task.finished_at


def task_of(row: Sequence[Any]) -> Task:
    """A row in the order of `ENDED`."""
    task_id, seq, kind, principal, priority, given, metadata, requirements, spec_text, *tail = row
    state, node, owner, version, rest_text, result, performance, finished_at = tail
    stored = _spec.decode(spec_text)
    rest = _rest.decode(rest_text)
    spec = TaskSpec(
        id=task_id,
        seq=seq,
        of=_class(
            kind,
            stored.capabilities,
            stored.labels,
            stored.limits,
            stored.preferred,
            stored.excluded,
        ),
        created_at=stored.created_at,
        priority=priority,
        input=given.encode(),
        requirements=requirements.encode(),
        metadata=metadata.encode(),
        timeout=stored.timeout,
        max_retries=stored.max_retries,
        backoff=_backoff(*stored.backoff),
        deadline=stored.deadline,
        not_before=stored.not_before,
        callback_url=stored.callback_url,
        dependencies=stored.dependencies,
        on_dependency_failure=_RUN if stored.run_anyway else OnDependencyFailure.FAIL,
        principal=principal,
        idempotency_key=stored.key,
    )
    return Task(
        spec,
        _STATES[state],
        version=version,
        owner=owner,
        attempt=rest.attempt,
        retries=rest.retries,
        node=node,
        agent=rest.agent,
        waiting_for=frozenset(rest.waiting_for),
        wake_at=rest.wake_at,
        assigned_at=rest.assigned_at,
        started_at=rest.started_at,
        finished_at=finished_at,
        result=result.encode() if result is not None else None,
        performance=performance.encode() if performance is not None else None,
        error=rest.error,
        progress=rest.progress,
        note=rest.note,
        replays=rest.replays,
    )


def keys_of(rows: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Principals and idempotency keys of those rows (principal, spec) that have one."""
    return [(principal, key) for principal, text in rows if (key := _spec.decode(text).key)]


def deltas(changes: Sequence[Change], verdicts: list[Verdict]) -> list[tuple[str, int, int]]:
    """What the written changes add to the counts: state, tasks in it now, tasks that ended in it."""
    now: Counter[TaskState] = Counter()
    ended: Counter[TaskState] = Counter()
    place = 0
    while place < len(changes):
        before, after = changes[place].before, changes[place].task.state
        count = 0  # of the same kind, which mostly come together
        while place < len(changes) and changes[place].before is before and changes[place].task.state is after:
            count += verdicts[place] is DONE
            place += 1
        if before is after or not count:
            continue
        now[after] += count
        if before is not None:
            now[before] -= count
        if after in FINISHED:
            ended[after] += count
    # In one order for all, so that two transactions never wait for each other's rows.
    return [(state.value, now[state], ended[state]) for state in sorted(now) if now[state] or ended[state]]


def filters_of(query: TaskQuery) -> dict[str, str]:
    """The columns that must have a value, the one first that probably is the rarest: each has an index of its own for
    finished tasks."""
    wanted = {"node": query.node or None, "type": query.type or None, "principal": query.principal}
    return {name: value for name, value in wanted.items() if value is not None}


def searched(query: TaskQuery) -> tuple[list[str], list[str]]:
    """The states of unfinished and of finished tasks that can match."""
    states = query.states or frozenset(TaskState)
    names = [sorted(state.value for state in states if state.finished is finished) for finished in (False, True)]
    return names[0], names[1]


def counts_of(rows: Iterable[Sequence[Any]]) -> Counts:
    """Rows of state, now, ended."""
    now: dict[TaskState, int] = {}
    ended: dict[TaskState, int] = {}
    for state, there, past in rows:
        if there:
            now[TaskState(state)] = int(there)
        if past:
            ended[TaskState(state)] = int(past)
    return Counts(now, ended)


def _write_spec(spec: TaskSpec) -> str:
    """Of most tasks only the moment is new: the rest of the text is remembered."""
    others = spec.callback_url or spec.dependencies or spec.idempotency_key
    if others or spec.deadline is not None or spec.not_before is not None:
        return _encode(_document(spec)).decode()
    backoff, anyway = spec.backoff, spec.on_dependency_failure is _RUN
    rest = _rest_of_spec(spec.of, spec.timeout, spec.max_retries, backoff.base, backoff.most, anyway)
    return f"{_CREATED}{_encode(spec.created_at).decode()}{rest}"


@lru_cache(2_000)
def _rest_of_spec(of: TaskClass, timeout: float, max_retries: int, base: float, most: float, anyway: bool) -> str:
    """The text behind `created_at`."""
    spec = TaskSpec(
        "",
        0,
        of,
        0.0,
        timeout=timeout,
        max_retries=max_retries,
        backoff=Backoff(base, most),
        on_dependency_failure=_RUN if anyway else OnDependencyFailure.FAIL,
    )
    return _encode(_document(spec)).decode().removeprefix(f"{_CREATED}0.0")


def _document(spec: TaskSpec) -> SpecDocument:
    return SpecDocument(
        spec.created_at,
        spec.timeout,
        spec.max_retries,
        (spec.backoff.base, spec.backoff.most),
        spec.deadline,
        spec.not_before,
        spec.callback_url,
        spec.dependencies,
        spec.on_dependency_failure is _RUN,
        spec.idempotency_key,
        *_class_fields(spec.of),
    )


@lru_cache(10_000)
def _class_fields(of: TaskClass) -> tuple[Any, ...]:
    """The last fields of `SpecDocument`, the opposite of `_class`."""
    wanted = of.requirements
    limits = (wanted.min_cpu, wanted.min_memory, wanted.max_load)
    return (
        tuple(sorted(wanted.capabilities)),
        wanted.labels,
        None if limits == _STANDARD else limits,
        tuple(sorted(wanted.preferred_nodes)),
        tuple(sorted(wanted.exclude_nodes)),
    )


# Tasks have few classes and pauses between them: equal ones are one object, and many tasks take little memory.
_backoff = lru_cache(1_000)(Backoff)


@lru_cache(10_000)
def _class(
    kind: str,
    capabilities: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    limits: tuple[float, float, float] | None,
    preferred: tuple[str, ...],
    excluded: tuple[str, ...],
) -> TaskClass:
    cpu, memory, load = limits or _STANDARD
    wanted = Requirements(frozenset(capabilities), labels, cpu, memory, load, frozenset(preferred), frozenset(excluded))
    return TaskClass(kind, wanted)


def _text(raw: bytes | None) -> str | None:
    return raw.decode() if raw is not None else None
