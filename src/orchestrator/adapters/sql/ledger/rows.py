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
_STATES = {state.value: state for state in TaskState}


def check(changes: Sequence[Change]) -> None:
    """Raises InvalidRequest for what a database would refuse or alter."""
    for change in changes:
        check_progress(change.task)
        if change.expected == 0:
            check_spec(change.task.spec)


def chained(changes: Sequence[Change]) -> tuple[list[Change], list[int]]:
    """The changes, those of one task that follow from each other as one; and for each change of which one it is part.
    What is submitted and handed out at the same moment is written once."""
    merged: list[Change] = []
    places: list[int] = []
    latest: dict[int, int] = {}  # not by the tasks' ids: one that is submitted again may be another task
    for change in changes:
        task = change.task
        place = latest.get(id(task.spec))
        if place is not None and change.expected and not _is_ended(merged[place].before):
            earlier = merged[place].task
            if (earlier.version, earlier.state) == (change.expected, change.before) and not _is_ended(earlier.state):
                merged[place] = Change(task, merged[place].expected, merged[place].before)
                places.append(place)
                continue
        latest[id(task.spec)] = len(merged)
        places.append(len(merged))
        merged.append(change)
    return merged, places


def _is_ended(state: TaskState | None) -> bool:
    """Whether a task in this state is in the other table."""
    return state is not None and state in FINISHED


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
        on_dependency_failure=OnDependencyFailure.RUN if stored.run_anyway else OnDependencyFailure.FAIL,
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
    moves: dict[tuple[TaskState | None, TaskState], int] = {}  # there are few kinds of them
    for place, change in enumerate(changes):
        if verdicts[place] is DONE:
            move = change.before, change.task.state
            moves[move] = moves.get(move, 0) + 1
    now: Counter[TaskState] = Counter()
    ended: Counter[TaskState] = Counter()
    for (before, after), count in moves.items():
        if before is after:
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
    stored = SpecDocument(
        spec.created_at,
        spec.timeout,
        spec.max_retries,
        (spec.backoff.base, spec.backoff.most),
        spec.deadline,
        spec.not_before,
        spec.callback_url,
        spec.dependencies,
        spec.on_dependency_failure is OnDependencyFailure.RUN,
        spec.idempotency_key,
        *_class_fields(spec.of),
    )
    return _encode(stored).decode()


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
