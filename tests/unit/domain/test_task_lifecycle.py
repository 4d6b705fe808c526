from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import Conflict
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import FINISHED, TRANSITIONS, TaskEvent, TaskState, after
from orchestrator.domain.task.task import NOBODY, Backoff, OnDependencyFailure, Task
from task_samples import NOW, a_spec, queued

S, E = TaskState, TaskEvent
OPEN = frozenset(S) - FINISHED
# Which events each state knows, and what comes of them, spelled out once more.
ALLOWED = {
    S.WAITING: {E.READY: S.QUEUED, E.FAIL: S.FAILED, E.CANCEL: S.CANCELLED},
    S.QUEUED: {E.ASSIGN: S.ASSIGNED, E.FAIL: S.FAILED, E.CANCEL: S.CANCELLED},
    S.ASSIGNED: {
        E.START: S.RUNNING,
        E.SUCCEED: S.COMPLETED,
        E.RETRY: S.RETRYING,
        E.EXPIRE: S.TIMEOUT,
        E.RELEASE: S.QUEUED,
        E.FAIL: S.FAILED,
        E.CANCEL: S.CANCELLED,
    },
    S.RUNNING: {
        E.SUCCEED: S.COMPLETED,
        E.RETRY: S.RETRYING,
        E.EXPIRE: S.TIMEOUT,
        E.RELEASE: S.QUEUED,
        E.FAIL: S.FAILED,
        E.CANCEL: S.CANCELLED,
    },
    S.RETRYING: {E.READY: S.QUEUED, E.FAIL: S.FAILED, E.CANCEL: S.CANCELLED},
    S.COMPLETED: {},
    S.FAILED: {E.REPLAY: S.QUEUED, E.REPLAY_LATER: S.WAITING},
    S.TIMEOUT: {E.REPLAY: S.QUEUED, E.REPLAY_LATER: S.WAITING},
    S.CANCELLED: {E.REPLAY: S.QUEUED, E.REPLAY_LATER: S.WAITING},
}


def active(**fields: object) -> Task:
    """A task that runs its first attempt on node n since NOW + 1."""
    task = queued().replace(spec=a_spec().replace(**fields))
    return lifecycle.start(lifecycle.assign(task, "n", NOW + 0.5), NOW + 1)


@pytest.mark.parametrize(("state", "event"), list(product(S, E)), ids=str)
def test_what_may_happen_in_each_state(state: TaskState, event: TaskEvent) -> None:
    if event in ALLOWED[state]:
        assert after(state, event) is ALLOWED[state][event]
        return
    with pytest.raises(Conflict) as caught:
        after(state, event)
    assert caught.value.status == 409
    assert caught.value.details["state"] == state.value


def test_nothing_else_is_in_the_table() -> None:
    assert len(TRANSITIONS) == sum(map(len, ALLOWED.values()))
    assert frozenset(state for state in S if not ALLOWED[state].keys() - {E.REPLAY, E.REPLAY_LATER}) == FINISHED
    assert {state for state in S if state.active} == {S.ASSIGNED, S.RUNNING}


def test_a_task_that_waits_for_nothing_is_queued() -> None:
    task = lifecycle.submitted(a_spec(not_before=NOW), "me", frozenset(), NOW)
    assert (task.state, task.wake_at, task.version, task.owner) == (S.QUEUED, None, 1, "me")
    assert lifecycle.due(task) is None


def test_a_task_waits_for_its_time() -> None:
    task = lifecycle.submitted(a_spec(not_before=NOW + 5), "me", frozenset(), NOW)
    assert (task.state, lifecycle.due(task)) == (S.WAITING, NOW + 5)
    woken = lifecycle.wake(task)
    assert (woken.state, woken.wake_at, woken.version) == (S.QUEUED, None, 2)


def test_attempts_count_up_and_each_start_is_new() -> None:
    task = lifecycle.assign(queued(), "n", NOW + 1)
    assert (task.state, task.node, task.attempt, task.assigned_at, task.started_at) == (
        S.ASSIGNED,
        "n",
        1,
        NOW + 1,
        None,
    )
    running = lifecycle.report(lifecycle.start(task, NOW + 2), 0.5, "half")
    assert (running.state, running.started_at, running.progress, running.note) == (S.RUNNING, NOW + 2, 0.5, "half")
    again = lifecycle.assign(lifecycle.release(running), "m", NOW + 3)
    assert (again.node, again.attempt, again.started_at, again.progress, again.retries) == ("m", 2, None, None, 0)


def test_progress_keeps_what_is_not_said() -> None:
    task = lifecycle.report(active(), 0.5, "half")
    assert lifecycle.report(task, None, "") == task.replace(version=task.version + 1)
    with pytest.raises(Conflict):
        lifecycle.report(queued(), 0.5, "")


def test_success_keeps_what_the_node_said() -> None:
    done = lifecycle.succeed(lifecycle.report(active(), 0.5, ""), NOW + 4, b"[1]", agent="a", performance=b"{}")
    assert (done.state, done.result, done.agent, done.performance) == (S.COMPLETED, b"[1]", "a", b"{}")
    assert (done.finished_at, done.execution_time, done.progress, done.error) == (NOW + 4, 3.0, 1.0, "")
    assert not done.dead
    unheard = lifecycle.succeed(lifecycle.assign(queued(), "n", NOW), NOW + 2, None)
    assert (unheard.started_at, unheard.execution_time, unheard.progress) == (NOW, 2.0, None)


def test_failures_are_tried_again_after_growing_pauses_and_then_stay() -> None:
    task = active(max_retries=3, backoff=Backoff(1.0, 60.0))
    pauses = []
    for retries in range(1, 4):
        task = lifecycle.fail(task, NOW, "no", 0.5)
        assert (task.state, task.retries, task.error) == (S.RETRYING, retries, "no")
        assert task.wake_at is not None
        pauses.append(task.wake_at - NOW)
        task = lifecycle.assign(lifecycle.wake(task), "n", NOW)
    assert pauses == [1.0, 2.0, 4.0]
    task = lifecycle.fail(task, NOW + 9, "still no", 0.5)
    assert (task.state, task.error, task.finished_at, task.attempt, task.retries) == (
        S.FAILED,
        "still no",
        NOW + 9,
        4,
        3,
    )
    assert task.dead


@given(base=st.floats(0.001, 100), most=st.floats(0.001, 1e4), rand=st.floats(0, 1, exclude_max=True))
def test_each_pause_is_longer_than_the_one_before_until_the_longest(base: float, most: float, rand: float) -> None:
    backoff = Backoff(base, most)
    for one, following in pairwise(range(1, 40)):
        nominal = min(base * 2.0**one, most)
        assert 0 < backoff.delay(one, rand) <= most * 1.25
        if nominal < most:
            assert backoff.delay(following, 0.0) > backoff.delay(one, 0.999) * 0.99


def test_a_final_failure_is_not_tried_again() -> None:
    assert lifecycle.fail(active(), NOW, "no", 0.0, final=True).state is S.FAILED
    assert lifecycle.fail(active(max_retries=0), NOW, "no", 0.0).state is S.FAILED


def test_no_attempt_is_promised_after_the_deadline() -> None:
    task = active(deadline=NOW + 3, backoff=Backoff(2.0, 60.0))
    assert lifecycle.fail(task, NOW + 0.9, "no", 0.5).state is S.RETRYING
    assert lifecycle.fail(task, NOW + 1.0, "no", 0.5).state is S.FAILED


def test_a_timeout_is_tried_again_like_a_failure_and_says_so() -> None:
    task = active(timeout=2.0, max_retries=1)
    assert lifecycle.due(task) == NOW + 3, "it counts from the start"
    late = lifecycle.expire(task, NOW + 3, 0.0)
    assert (late.state, late.error, late.retries) == (S.RETRYING, "timed out after 2 s", 1)
    last = lifecycle.expire(lifecycle.assign(lifecycle.wake(late), "n", NOW + 4), NOW + 6, 0.0)
    assert (last.state, last.dead, last.finished_at) == (S.TIMEOUT, True, NOW + 6)


def test_a_lost_node_costs_an_attempt_and_no_pause() -> None:
    task = lifecycle.lose_node(active(max_retries=1), NOW)
    assert (task.state, task.retries, task.node, task.error) == (S.QUEUED, 1, "", "Node n failed")
    last = lifecycle.lose_node(lifecycle.assign(task, "m", NOW), NOW + 1)
    assert (last.state, last.error, last.finished_at) == (S.FAILED, "Node m failed, max retries exceeded", NOW + 1)
    with pytest.raises(Conflict):
        lifecycle.lose_node(task, NOW)


def test_a_released_attempt_is_nobodys_fault() -> None:
    task = lifecycle.release(active(max_retries=0))
    assert (task.state, task.retries, task.attempt, task.node, task.error) == (S.QUEUED, 0, 1, "", "")


@pytest.mark.parametrize("state", sorted(OPEN))
def test_whatever_has_not_finished_can_be_cancelled_or_miss_its_deadline(state: TaskState) -> None:
    task = active().replace(state=state, wake_at=NOW, waiting_for=frozenset({"p"}))
    gone = lifecycle.cancel(task, NOW + 2, "by ann")
    assert (gone.state, gone.error, gone.finished_at, gone.dead) == (S.CANCELLED, "by ann", NOW + 2, False)
    assert (gone.wake_at, gone.waiting_for) == (None, frozenset())
    assert lifecycle.cancel(task, NOW).error == "cancelled"
    late = lifecycle.miss_deadline(task, NOW + 2)
    assert (late.state, late.error, late.dead) == (S.FAILED, "the deadline has passed", True)


@pytest.mark.parametrize("state", sorted(FINISHED))
def test_what_has_finished_does_not_change_but_by_replay(state: TaskState) -> None:
    task = lifecycle.cancel(active(), NOW).replace(state=state)
    ways: list[Callable[[], Task]] = [
        lambda: lifecycle.cancel(task, NOW),
        lambda: lifecycle.miss_deadline(task, NOW),
        lambda: lifecycle.assign(task, "n", NOW),
        lambda: lifecycle.succeed(task, NOW, b"1"),
        lambda: lifecycle.fail(task, NOW, "no", 0.0),
        lambda: lifecycle.expire(task, NOW, 0.0),
        lambda: lifecycle.lose_node(task, NOW),
        lambda: lifecycle.release(task),
        lambda: lifecycle.wake(task),
        lambda: lifecycle.report(task, 0.1, ""),
    ]
    for work in ways:
        with pytest.raises(Conflict):
            work()
    assert lifecycle.parent_finished(task, task, NOW) is task


def test_a_replay_starts_from_nothing_but_its_attempts() -> None:
    task = active(max_retries=1)
    task = lifecycle.assign(lifecycle.wake(lifecycle.fail(task, NOW, "no", 0.0)), "n", NOW)
    dead = lifecycle.fail(lifecycle.report(task, 0.5, "half"), NOW, "no", 0.0)
    again = lifecycle.replay(dead, "you", NOBODY, NOW)
    blank = Task(dead.spec, S.QUEUED, owner="you", attempt=2, replays=1, version=dead.version + 1)
    assert again == blank
    assert lifecycle.replay(lifecycle.cancel(again, NOW), "me", NOBODY, NOW).replays == 2
    with pytest.raises(Conflict):
        lifecycle.replay(lifecycle.succeed(task, NOW, b"1"), "me", NOBODY, NOW)


# Dependencies


def waiting(
    *parents: str, policy: OnDependencyFailure = OnDependencyFailure.FAIL, not_before: float | None = None
) -> Task:
    spec = a_spec(dependencies=parents, on_dependency_failure=policy, not_before=not_before)
    return lifecycle.submitted(spec, "me", frozenset(parents), NOW)


def parent(name: str, state: TaskState = S.COMPLETED) -> Task:
    return lifecycle.cancel(queued(name), NOW).replace(state=state)


def test_a_task_runs_when_the_last_of_its_parents_has_completed() -> None:
    task = waiting("p", "q")
    assert task.state is S.WAITING
    one = lifecycle.parent_finished(task, parent("q"), NOW)
    assert (one.state, one.waiting_for) == (S.WAITING, frozenset({"p"}))
    assert lifecycle.parent_finished(one, parent("q"), NOW) is one, "told twice"
    assert lifecycle.parent_finished(one, parent("r"), NOW) is one, "somebody else"
    both = lifecycle.parent_finished(one, parent("p"), NOW)
    assert (both.state, both.waiting_for) == (S.QUEUED, frozenset())


@pytest.mark.parametrize("state", [S.FAILED, S.TIMEOUT, S.CANCELLED])
def test_the_policy_decides_when_a_parent_does_not_complete(state: TaskState) -> None:
    task = lifecycle.parent_finished(waiting("p", "q"), parent("p", state), NOW + 1)
    assert (task.state, task.error, task.finished_at) == (S.FAILED, f"dependency p is {state}", NOW + 1)
    run = lifecycle.parent_finished(waiting("p", policy=OnDependencyFailure.RUN), parent("p", state), NOW)
    assert run.state is S.QUEUED


def test_a_replay_waits_as_a_new_task_does() -> None:
    dead = lifecycle.cancel(waiting("p", "q", not_before=NOW + 5), NOW)
    again = lifecycle.replay(dead, "you", frozenset({"q"}), NOW + 1)
    assert (again.state, again.waiting_for, again.wake_at) == (S.WAITING, {"q"}, NOW + 5)
    timed = lifecycle.replay(dead, "you", NOBODY, NOW + 1)
    assert (timed.state, lifecycle.due(timed)) == (S.WAITING, NOW + 5)
    assert lifecycle.replay(dead, "you", NOBODY, NOW + 5).state is S.QUEUED
    with pytest.raises(Conflict):
        lifecycle.replay(again, "you", frozenset({"q"}), NOW)


def test_parents_and_time_are_both_waited_for() -> None:
    task = waiting("p", not_before=NOW + 5)
    early = lifecycle.parent_finished(task, parent("p"), NOW + 1)
    assert (early.state, early.waiting_for, lifecycle.due(early)) == (S.WAITING, frozenset(), NOW + 5)
    assert lifecycle.wake(early).state is S.QUEUED
    late = lifecycle.parent_finished(task, parent("p"), NOW + 6)
    assert (late.state, late.wake_at) == (S.QUEUED, None)


def test_a_deadline_is_looked_at_while_parents_are_waited_for() -> None:
    """Its own time passes first: nothing is to be done then, and the deadline must not be forgotten."""
    spec = a_spec(dependencies=("p",), not_before=NOW + 5, deadline=NOW + 9)
    task = lifecycle.submitted(spec, "me", frozenset({"p"}), NOW)
    assert lifecycle.due(task) == NOW + 9
    assert lifecycle.due(lifecycle.parent_finished(task, parent("p"), NOW)) == NOW + 5


def test_every_change_counts_the_version_up_by_one() -> None:
    task = waiting("p")
    steps = [task, lifecycle.parent_finished(task, parent("p"), NOW)]
    steps.append(lifecycle.assign(steps[-1], "n", NOW))
    steps.append(lifecycle.start(steps[-1], NOW))
    steps.append(lifecycle.report(steps[-1], 0.1, ""))
    steps.append(lifecycle.fail(steps[-1], NOW, "x", 0.0))
    steps.append(lifecycle.wake(steps[-1]))
    steps.append(lifecycle.cancel(steps[-1], NOW))
    steps.append(lifecycle.replay(steps[-1], "me", NOBODY, NOW))
    assert [step.version for step in steps] == list(range(1, 10))


def test_a_long_reason_is_cut() -> None:
    assert len(lifecycle.fail(active(), NOW, "x" * 10_000, 0.0).error) == lifecycle.MAX_ERROR
    assert len(lifecycle.cancel(active(), NOW, "x" * 10_000).error) == lifecycle.MAX_ERROR
