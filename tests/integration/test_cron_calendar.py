"""Cron expressions against a minute by minute search, and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator.adapters.cronsim import CronSimCalendar
from orchestrator.domain.errors import InvalidRequest

CRON = CronSimCalendar()
BERLIN = ZoneInfo("Europe/Berlin")


def listed(expression: str, zone: str, start: datetime, count: int) -> list[datetime]:
    moment, found = start.timestamp(), list[datetime]()
    for _ in range(count):
        following = CRON.after(expression, zone, moment)
        assert following is not None
        assert following > moment
        moment = following
        found.append(datetime.fromtimestamp(moment, UTC))
    return found


def test_a_time_that_is_leapt_over_runs_right_after() -> None:
    start = datetime(2026, 3, 28, 3, tzinfo=BERLIN)
    found = listed("30 2 * * *", "Europe/Berlin", start, 3)
    assert found == [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # 03:00 summer time, where 02:30 is not
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        datetime(2026, 3, 31, 0, 30, tzinfo=UTC),
    ]


def test_two_times_that_are_leapt_over_run_once() -> None:
    start = datetime(2026, 3, 29, 1, 0, tzinfo=BERLIN)
    found = listed("0,30 2 * * *", "Europe/Berlin", start, 2)
    assert found == [datetime(2026, 3, 29, 1, 0, tzinfo=UTC), datetime(2026, 3, 30, 0, 0, tzinfo=UTC)]


def test_a_time_that_comes_twice_runs_once() -> None:
    start = datetime(2026, 10, 25, 0, 30, tzinfo=BERLIN)
    found = listed("30 2 * * *", "Europe/Berlin", start, 2)
    assert found == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]
    inside = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    assert listed("30 2 * * *", "Europe/Berlin", inside, 1) == [datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]


def test_every_hour_goes_by_elapsed_time() -> None:
    start = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    found = listed("0 * * * *", "Europe/Berlin", start, 4)
    assert found == [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in range(4)]


def test_seconds_and_fractions() -> None:
    assert CRON.after("*/15 * * * * *", "UTC", 100.5) == 105.0
    assert CRON.after("* * * * *", "UTC", 119.999) == 120.0
    assert CRON.after("* * * * *", "UTC", 120.0) == 180.0


def test_what_never_comes() -> None:
    assert CRON.after("0 0 29 2 MON#1", "UTC", 0.0) is not None  # or: the 29th of February, or the first Monday
    with pytest.raises(InvalidRequest):
        CRON.after("0 0 30 2 *", "UTC", 0.0)


NOTHING = ["", "* * * *", "60 * * * *", "a b c d e", "* * * * * * *", "*/0 * * * *", "1-0 * * * *", "\u0663 * * * *"]


@pytest.mark.parametrize("expression", [*NOTHING, "9" * 5000, "* * L/x * *", "* * * * 1#9"])
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CRON.after(expression, "UTC", 0.0)
    assert caught.value.details["field"] == "cron"


@pytest.mark.parametrize(
    "zone", ["", "Mars/Base", "../etc/passwd", "/etc/localtime", "Europe", "Europe/Berlin\0", "\ud800"]
)
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CRON.after("* * * * *", zone, 0.0)
    assert caught.value.details["field"] == "timezone"
