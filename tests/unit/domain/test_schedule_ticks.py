from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import schedule as ticks
from orchestrator.domain.schedule import MOST_CAUGHT_UP, CatchUp, Schedule

EVERY = Schedule("s", b"{}", every=10.0, anchor=0.0)


def following(moment: float) -> float | None:
    return ticks.interval_after(0.0, 10.0, moment)


def drive(schedule: Schedule, now: float) -> tuple[Schedule, list[float]]:
    """What a process does that looks at `now`: the schedule after it, and the ticks that ran."""
    done: list[float] = []
    while schedule.next_run_at is not None and schedule.next_run_at <= now:
        if ticks.is_missed(schedule, now):
            schedule = ticks.passed_over(schedule, following, now)
        else:
            assert schedule.tick is not None
            done.append(schedule.tick)
            schedule = ticks.ran(schedule, following, now, "task")
    return schedule, done


def test_in_time_every_tick_runs_once_whatever_the_policy() -> None:
    for policy in CatchUp:
        schedule = ticks.planned(replace(EVERY, catch_up=policy), following, 5.0)
        found: list[float] = []
        for now in range(5, 100):
            schedule, done = drive(schedule, now + 0.01)
            found += done
        assert found == [10.0 * n for n in range(1, 10)]
        assert (schedule.runs, schedule.missed, schedule.caught_up) == (9, 0, 0)


def test_after_an_outage_the_policy_decides() -> None:
    expected = {CatchUp.NONE: [], CatchUp.ONE: [10.0], CatchUp.ALL: [10.0 * n for n in range(1, 31)]}
    for policy, runs in expected.items():
        schedule = ticks.planned(replace(EVERY, catch_up=policy), following, 5.0)
        schedule, done = drive(schedule, 305.0)
        assert done == runs
        assert schedule.tick == 310.0
        assert schedule.missed == (policy is CatchUp.NONE)


def test_catching_up_is_bounded() -> None:
    schedule = ticks.planned(replace(EVERY, catch_up=CatchUp.ALL), following, 5.0)
    schedule, done = drive(schedule, 1e6 + 5)
    assert len(done) == MOST_CAUGHT_UP
    assert schedule.tick == 1e6 + 10
    assert schedule.caught_up == 0


def test_a_paused_schedule_has_no_tick() -> None:
    assert ticks.planned(replace(EVERY, paused=True), following, 5.0).next_run_at is None


def test_a_refused_task_leaves_its_reason_until_one_is_taken() -> None:
    schedule = ticks.planned(EVERY, following, 5.0)
    refused = ticks.failed(schedule, following, 10.0, "no")
    assert (refused.last_error, refused.failures, refused.runs, refused.tick) == ("no", 1, 0, 20.0)
    assert ticks.ran(refused, following, 20.0, "t").last_error == ""


@given(st.floats(0, 1e10), st.floats(1, 4e7), st.floats(0, 1e10))
def test_the_next_tick_is_the_first_one_later(anchor: float, every: float, moment: float) -> None:
    found = ticks.interval_after(anchor, every, moment)
    assert found > moment or found == anchor > moment
    assert found - moment <= every * 1.000001 + 1e-5 or found == anchor


@given(st.text(min_size=1, max_size=5), st.floats(0, 1e10), st.floats(0, 3600))
def test_jitter_is_the_same_for_everybody_and_bounded(name: str, tick: float, jitter: float) -> None:
    one = replace(EVERY, id=name, jitter=jitter)
    begins = ticks.starts_at(one, tick)
    assert begins == ticks.starts_at(replace(one, runs=5, task=b"x"), tick)
    assert tick <= begins <= tick + jitter
