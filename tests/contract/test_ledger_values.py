"""What a ledger keeps comes back as it was, or is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.task import MAX_RESULT, Backoff, OnDependencyFailure, Task
from orchestrator.ports.ledger import Counts, TaskQuery, Verdict
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage
from task_samples import NOW, change, keep, move, queued, tasks

DONE = Verdict.DONE


# Whatever a task is made of


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(task=tasks(), again=tasks())
def test_every_field_comes_back(storage_url: str, task: Task, again: Task) -> None:
    asyncio.run(_round_trip(storage_url, task, again))


async def _round_trip(url: str, task: Task, again: Task) -> None:
    """Through both tables: inserted, finished or changed, and back."""
    async with open_storage(url) as storage:
        ledger = storage.ledger
        start = lifecycle.submitted(task.spec, task.owner, frozenset(), NOW).replace()
        [verdict] = await ledger.commit([Change(start)])
        held = (await ledger.get([task.id])).get(task.id)
        if verdict is DONE:
            assert held == start
        elif held is None:
            return  # an earlier example has its idempotency key
        assert held is not None
        if held.state.finished and task.state.finished:
            held = await move(ledger, held, start.replace(version=held.version + 1, spec=held.spec))
        following = task.replace(spec=held.spec, version=held.version + 1)
        await move(ledger, held, following)
        assert await ledger.get([task.id]) == {task.id: following}


PLAIN: dict[str, Any] = {"deadline": None, "not_before": None, "callback_url": "", "dependencies": ()}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"created_at": 0.0},
        {"created_at": 1e-7},
        {"created_at": 1795000000.123457},
        {"timeout": 0.5},
        {"max_retries": 0},
        {"backoff": Backoff(2.5, 7.0)},
        {"on_dependency_failure": OnDependencyFailure.RUN},
        {"of": TaskClass("noop", Requirements(frozenset({"gpu"}), (("zone", "a"),), 5.0, 6.0, 0.5))},
        {"deadline": 0.0},
        {"not_before": 0.0},
        {"idempotency_key": "k"},
    ],
    ids=str,
)
async def test_plain_tasks_come_back_whatever_the_one_before_asked_for(storage: Storage, asked: dict[str, Any]) -> None:
    plain = queued("plain")
    plain = plain.replace(spec=plain.spec.replace(**PLAIN))
    other = plain.replace(spec=plain.spec.replace(id="other", **asked))
    assert await storage.ledger.commit([Change(plain), Change(other)]) == [DONE, DONE]
    assert await storage.ledger.get(["plain", "other"]) == {"plain": plain, "other": other}


HOSTILE = ["a\0b", "\ud800", "x" * 513]


@pytest.mark.parametrize("field", ["id", "principal", "idempotency_key"])
@pytest.mark.parametrize("text", HOSTILE, ids=["nul", "surrogate", "long"])
async def test_names_that_no_database_can_hold_are_refused(storage: Storage, field: str, text: str) -> None:
    ledger = storage.ledger
    task = queued("a")
    wrong: dict[str, Any] = {field: text}
    bad = task.replace(spec=task.spec.replace(**wrong))
    with pytest.raises(InvalidRequest):
        await ledger.commit([Change(queued("good")), Change(bad)])
    assert await ledger.page(TaskQuery()) == (), "nothing of the commit is written"
    assert await ledger.get([text]) == {}
    assert await ledger.by_key("", text) is None
    assert await ledger.by_key(text, "k") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"input": b'"\xff"'},
        {"input": b'"\0"'},
        {"metadata": b'"\xed\xa0\x80"'},
        {"requirements": b"\xff"},
        {"callback_url": "http://a/\0"},
        {"dependencies": ("a", "\ud800")},
        {"created_at": float("nan")},
        {"deadline": float("inf")},
        {"not_before": float("-inf")},
        {"timeout": float("inf")},
        {"max_retries": 2**63},
        {"priority": 0},
        {"priority": 6},
        {"seq": 2**63},
    ],
    ids=str,
)
async def test_a_spec_that_no_database_can_hold_is_refused(storage: Storage, bad: dict[str, Any]) -> None:
    task = queued("a")
    with pytest.raises(InvalidRequest):
        await storage.ledger.commit([Change(task.replace(spec=task.spec.replace(**bad)))])
    assert await storage.ledger.counts() == Counts()


@pytest.mark.parametrize(
    "bad",
    [
        {"error": "a\0"},
        {"note": "\ud800"},
        {"agent": "a\0"},
        {"node": "a\0"},
        {"result": b"\xff"},
        {"result": b"a\0"},
        {"performance": b"\xed\xa0\x80"},
        {"result": b"x" * (MAX_RESULT + 1)},
        {"progress": float("nan")},
        {"finished_at": float("nan")},
        {"finished_at": None},
        {"waiting_for": frozenset({"\0"})},
        {"attempt": 2**63},
    ],
    ids=lambda bad: str(bad)[:40],
)
async def test_an_end_that_no_database_can_hold_is_refused(storage: Storage, bad: dict[str, Any]) -> None:
    [task] = await keep(storage.ledger, queued("a"))
    ended = lifecycle.cancel(task, NOW).replace(**bad)
    with pytest.raises(InvalidRequest):
        await storage.ledger.commit([change(task, ended)])
    assert await storage.ledger.get(["a"]) == {"a": task}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=6), owner=st.text(max_size=4))
def test_any_text_is_kept_or_refused(storage_url: str, text: str, owner: str) -> None:
    async def attempt() -> None:
        async with open_storage(storage_url) as storage:
            task = lifecycle.cancel(queued(owner=owner), NOW, text)
            start = queued().replace(spec=task.spec)
            try:
                await storage.ledger.commit([Change(start), change(start, task.replace(version=2))])
            except InvalidRequest:
                assert "\0" in owner or any("\ud800" <= char <= "\udfff" for char in owner)
                return
            assert (await storage.ledger.get([task.id]))[task.id].error == task.error

    asyncio.run(attempt())
