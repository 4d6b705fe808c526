"""A schedule: a task that is submitted again and again, by the calendar or at an interval.

A *tick* is a moment at which it should run, the same for every process that asks. A run may come later than its tick by
the jitter, which follows from the schedule's id and the tick alone. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from math import floor

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import check_storable

GRACE = 60.0  # seconds: a tick that is found later than this was missed
MOST_CAUGHT_UP = 1_000  # missed ticks in a row that are made up for

Following = Callable[[float], float | None]  # the first tick after a moment; None when there is none


class CatchUp(StrEnum):
    """What becomes of ticks that nobody was there for."""

    NONE = "none"  # nothing
    ONE = "one"  # one run for all of them
    ALL = "all"  # one run for each, the oldest first, at most MOST_CAUGHT_UP


@dataclass(frozen=True, slots=True)
class Schedule:
    """`task` is the body of a task, as JSON. Ticks come by `cron` in the time zone `zone`, or every `every` seconds
    from `anchor` on. `tick` is the next one, `next_run_at` when its run begins; both None while paused or when nothing
    follows. `caught_up` counts the runs in a row that made up for missed ticks. `version` counts changes."""

    id: str
    task: bytes
    cron: str = ""
    every: float | None = None
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.NONE
    jitter: float = 0.0
    paused: bool = False
    principal: str = ""
    created_at: float = 0.0
    anchor: float = 0.0
    tick: float | None = None
    next_run_at: float | None = None
    last_run_at: float | None = None
    last_task: str = ""
    last_error: str = ""
    runs: int = 0
    failures: int = 0
    missed: int = 0
    caught_up: int = 0
    version: int = 1

    @property
    def key(self) -> str:
        """The idempotency key of the run for the current tick."""
        return f"schedule:{self.id}:{self.tick:.3f}"


def interval_after(anchor: float, every: float, moment: float) -> float:
    """The first of anchor, anchor + every, ... that is later than the moment."""
    if moment < anchor:
        return anchor
    count = floor((moment - anchor) / every) + 1
    following = anchor + count * every
    return following if following > moment else anchor + (count + 1) * every


def starts_at(schedule: Schedule, tick: float) -> float:
    """When the run of a tick begins."""
    drawn = blake2b(f"{schedule.id}\0{tick:.3f}".encode(), digest_size=8).digest()
    return tick + schedule.jitter * int.from_bytes(drawn) / 2**64


def planned(schedule: Schedule, following: Following, now: float) -> Schedule:
    """The schedule with its next tick after now; none while it is paused."""
    return _at(schedule, None if schedule.paused else following(now))


def is_missed(schedule: Schedule, now: float) -> bool:
    """Whether the tick is due and is passed over instead of run."""
    return schedule.catch_up is CatchUp.NONE and now - (schedule.next_run_at or now) > GRACE


def passed_over(schedule: Schedule, following: Following, now: float) -> Schedule:
    """The tick was missed: on to the next one."""
    return _next(replace(schedule, missed=schedule.missed + 1), following, now)


def ran(schedule: Schedule, following: Following, now: float, task_id: str) -> Schedule:
    """The tick's task is durable."""
    done = replace(schedule, last_run_at=now, last_task=task_id, last_error="", runs=schedule.runs + 1)
    return _next(done, following, now)


def failed(schedule: Schedule, following: Following, now: float, error: str) -> Schedule:
    """The tick's task was refused; the next tick is another chance."""
    done = replace(schedule, last_run_at=now, last_error=error, failures=schedule.failures + 1)
    return _next(done, following, now)


def _next(schedule: Schedule, following: Following, now: float) -> Schedule:
    tick = schedule.tick if schedule.tick is not None else now
    late = now - (schedule.next_run_at or now) > GRACE
    caught_up = schedule.caught_up + 1 if late else 0
    after = following(tick)
    if after is not None and _leaps(replace(schedule, caught_up=caught_up), after, now):
        after = following(max(tick, now - schedule.jitter))
        caught_up = 0
    return _at(replace(schedule, caught_up=caught_up), after)


def _leaps(schedule: Schedule, after: float, now: float) -> bool:
    """Whether the ticks up to now are left out."""
    match schedule.catch_up:
        case CatchUp.NONE:
            return now - starts_at(schedule, after) > GRACE
        case CatchUp.ONE:
            return starts_at(schedule, after) <= now
        case CatchUp.ALL:
            return schedule.caught_up >= MOST_CAUGHT_UP


def _at(schedule: Schedule, tick: float | None) -> Schedule:
    begins = None if tick is None else starts_at(schedule, tick)
    return replace(schedule, tick=tick, next_run_at=begins)


def check_schedule(schedule: Schedule) -> None:
    """Raises `InvalidRequest` when a database would refuse or alter it."""
    try:
        text = schedule.task.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("task: not UTF-8") from error
    check_storable(text)
    names = (schedule.cron, schedule.zone, schedule.principal, schedule.last_error)
    times = (schedule.every, schedule.jitter, schedule.created_at, schedule.anchor, schedule.tick)
    runs = (schedule.next_run_at, schedule.last_run_at, schedule.runs, schedule.failures, schedule.missed)
    check_storable((names, times, runs, schedule.caught_up, schedule.version), schedule.id, schedule.last_task)
