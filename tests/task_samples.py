"""Tasks to test with: made by hand, or any that a ledger can keep."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import strategies as st

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Backoff, OnDependencyFailure, Task, TaskSpec
from orchestrator.ports.ledger import Ledger, Verdict

NOW = 1_000.0
_numbers = count(1)


def a_spec(task_id: str = "", *, task_type: str = "noop", seq: int = 0, **fields: Any) -> TaskSpec:
    number = next(_numbers)
    return TaskSpec(task_id or f"t{number}", seq or number, TaskClass(task_type), NOW, **fields)


def queued(task_id: str = "", *, owner: str = "me", **fields: Any) -> Task:
    return lifecycle.submitted(a_spec(task_id, **fields), owner, frozenset(), NOW)


def change(old: Task | None, new: Task) -> Change:
    return Change(new) if old is None else Change(new, old.version, old.state)


async def keep(ledger: Ledger, *tasks: Task) -> tuple[Task, ...]:
    """Inserts tasks, and moves those that are beyond their first state there."""
    verdicts = await ledger.commit([Change(task) for task in tasks])
    assert verdicts == [Verdict.DONE] * len(tasks)
    return tasks


async def move(ledger: Ledger, old: Task, new: Task) -> Task:
    assert await ledger.commit([change(old, new)]) == [Verdict.DONE]
    return new


async def finished(ledger: Ledger, task: Task, *, node: str = "n", result: bytes = b"1") -> Task:
    """Inserts a task and completes it on a node."""
    await keep(ledger, task)
    task = await move(ledger, task, lifecycle.assign(task, node, NOW + 1))
    return await move(ledger, task, lifecycle.succeed(task, NOW + 2, result))


# Everything that can be kept


def built(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """As `st.builds`, which cannot look into compiled classes."""
    return st.fixed_dictionaries(fields).map(lambda drawn: kind(**drawn))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
times = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 2**63 - 1)
documents = texts.map(str.encode) | st.sampled_from([b"null", b'{"a": "\\u0000"}', b"[1,  2]", b'"\xc3\xa9"'])
requirements = built(
    Requirements,
    capabilities=st.frozensets(texts, max_size=3),
    labels=st.dictionaries(texts, texts, max_size=3).map(lambda labels: tuple(sorted(labels.items()))),
    min_cpu=times,
    min_memory=times,
    max_load=times,
    preferred_nodes=st.frozensets(texts, max_size=3),
    exclude_nodes=st.frozensets(texts, max_size=3),
) | st.just(Requirements())
specs = built(
    TaskSpec,
    id=names,
    seq=st.integers(-(2**63), 2**63 - 1),
    of=built(TaskClass, type=texts, requirements=requirements),
    created_at=times,
    priority=st.integers(1, 5),
    input=documents,
    requirements=documents,
    metadata=documents,
    timeout=times,
    max_retries=whole,
    backoff=built(Backoff, base=times, most=times),
    deadline=st.none() | times,
    not_before=st.none() | times,
    callback_url=texts,
    dependencies=st.lists(texts, max_size=3).map(tuple),
    on_dependency_failure=st.sampled_from(OnDependencyFailure),
    principal=texts,
    idempotency_key=texts,
)


@st.composite
def tasks(draw: st.DrawFn, state: st.SearchStrategy[TaskState] | None = None) -> Task:
    """Any task; one that has not finished has no end."""
    now = draw(state or st.sampled_from(TaskState))
    ended = now.finished
    return Task(
        draw(specs),
        now,
        version=draw(st.integers(1, 2**62)),
        owner=draw(texts),
        attempt=draw(whole),
        retries=draw(whole),
        node=draw(texts),
        agent=draw(texts),
        waiting_for=draw(st.frozensets(texts, max_size=3)),
        wake_at=draw(st.none() | times),
        assigned_at=draw(st.none() | times),
        started_at=draw(st.none() | times),
        finished_at=draw(times) if ended else None,
        result=draw(st.none() | documents) if ended else None,
        performance=draw(st.none() | documents) if ended else None,
        error=draw(texts),
        progress=draw(st.none() | times),
        note=draw(texts),
        replays=draw(whole),
    )
