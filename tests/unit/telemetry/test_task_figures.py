"""What is counted of tasks, by a clock that stands still."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.task.requirements import Requirements, TaskClass
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task, TaskSpec
from orchestrator.ports.ledger import Counts
from orchestrator.services.tasks.figures import LATELY, MOST_LABELS, OTHER, ApiFigures, Figures

NOW = 1_000_000.0


class Moment:
    """A clock and a ledger's sums, as a test sets them."""

    def __init__(self) -> None:
        self.at = NOW
        self.away = False

    def wall(self) -> float:
        return self.at

    async def counts(self) -> Counts:
        if self.away:
            raise StorageUnavailable
        return Counts(ended={TaskState.COMPLETED: 7})


def parts() -> tuple[Moment, Figures]:
    moment = Moment()
    return moment, Figures(moment.wall, moment.counts, dict, {})


def ended(
    figures: Figures, at: float, state: TaskState = TaskState.COMPLETED, seconds: float = 2.0, of: str = "t"
) -> None:
    spec = TaskSpec(id="a", seq=1, of=TaskClass(of, Requirements()), created_at=at)
    old = Task(spec, TaskState.RUNNING, attempt=1, node="n", started_at=at - seconds)
    figures.task(old.replace(state=state, finished_at=at), old)


def test_nothing_is_known_before_anything_has_ended() -> None:
    _, figures = parts()
    lately = figures.lately()
    assert (lately.success_rate, lately.response_time, lately.per_minute) == (None, None, 0)


def test_what_ended_lately() -> None:
    moment, figures = parts()
    ended(figures, NOW - 200, seconds=1.0)
    ended(figures, NOW - 30, seconds=3.0)
    ended(figures, NOW - 10, TaskState.TIMEOUT)
    ended(figures, NOW - 10, TaskState.FAILED)
    ended(figures, NOW - 10, TaskState.CANCELLED)
    lately = figures.lately()
    assert (lately.completed, lately.failed, lately.per_minute) == (2, 2, 1)
    assert lately.success_rate == 0.5
    assert lately.response_time == pytest.approx(2000)
    moment.at += LATELY - 100
    assert figures.lately().completed == 1
    moment.at += LATELY
    assert figures.lately().success_rate is None


def test_an_end_is_counted_once_and_a_pause_is_none() -> None:
    _, figures = parts()
    spec = TaskSpec(id="a", seq=1, of=TaskClass("t", Requirements()), created_at=NOW)
    queued = Task(spec, TaskState.QUEUED)
    figures.task(queued, None)
    running = queued.replace(state=TaskState.RUNNING, started_at=NOW)
    figures.task(running, queued)
    retrying = running.replace(state=TaskState.RETRYING)
    figures.task(retrying, running)
    failed = running.replace(state=TaskState.FAILED, finished_at=NOW + 1)
    figures.task(failed, running)
    figures.task(queued, failed)  # replayed
    assert figures.submitted == 1
    assert dict(figures.ended) == {("t", "failed"): 1}


def test_the_number_of_labels_is_bounded() -> None:
    _, figures = parts()
    for number in range(MOST_LABELS + 50):
        ended(figures, NOW, of=f"type-{number}")
    ended(figures, NOW, of="type-0")
    assert len(figures.durations) == MOST_LABELS + 1
    assert figures.ended["type-0", "completed"] == 2
    assert figures.ended[OTHER, "completed"] == 50


def test_a_removed_node_did_not_fail() -> None:
    _, figures = parts()
    figures.lost("a", removed=True)
    figures.lost("b", removed=False)
    assert dict(figures.failures) == {"b": 1}


async def test_history_ends_with_now_and_outlives_a_database_that_is_away() -> None:
    moment, figures = parts()
    figures.samples.append(await figures.sample())
    moment.at += 60
    moment.away = True
    first, last = await figures.history(10)
    assert (first.at, first.tasks_completed) == (NOW, 7)
    assert (last.at, last.tasks_completed) == (NOW + 60, None)
    assert [one.at for one in await figures.history(1)] == [NOW + 60]


def test_calls_by_route() -> None:
    api = ApiFigures()
    api.count("GET", "/a", 200, 0.1)
    api.count("BREW", "/a", 405, 0.1)
    assert dict(api.calls) == {("GET", "/a", "200"): 1, ("OTHER", "/a", "405"): 1}
    assert (api.total, api.errors) == (2, 1)
