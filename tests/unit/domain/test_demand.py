"""What is concluded from how often models are asked for, and what is not."""

from __future__ import annotations

import pytest

from orchestrator.domain.demand import HOUR, Demand, Sums, advise

MIDNIGHT = 1_700_006_400.0  # a day's first second in UTC
LOOK = 5.0


def traffic(demand: Demand, start: float, seconds: float, per_minute: float) -> float:
    """Counts an even stream of requests, look by look; returns when it ended."""
    owed = 0.0
    now = start
    while now < start + seconds:
        now += LOOK
        owed += per_minute * LOOK / 60
        demand.count(Sums(requests=int(owed)), now)
        owed -= int(owed)
    return now


def test_the_rate_is_right_from_the_first_minute_on_and_follows() -> None:
    demand = Demand(since=MIDNIGHT)
    now = traffic(demand, MIDNIGHT, 60, 30)
    assert demand.rate == pytest.approx(30, rel=0.1)
    now = traffic(demand, now, 1800, 60)
    assert demand.rate == pytest.approx(60, rel=0.1)
    traffic(demand, now, 3600, 0)
    assert demand.rate < 0.1


def test_nothing_is_forecast_for_hours_that_were_never_seen() -> None:
    demand = Demand(since=MIDNIGHT)
    traffic(demand, MIDNIGHT, 600, 30)
    assert demand.forecast(MIDNIGHT + 9 * HOUR) is None
    assert demand.expected(MIDNIGHT + 600, 600) == demand.rate


def test_an_hour_is_forecast_from_the_same_hour_of_the_days_before() -> None:
    demand = Demand(since=MIDNIGHT)
    traffic(demand, MIDNIGHT, 9 * HOUR, 0)
    traffic(demand, MIDNIGHT + 9 * HOUR, HOUR, 12)
    now = traffic(demand, MIDNIGHT + 10 * HOUR, 22 * HOUR + 3000, 0)

    assert demand.forecast(MIDNIGHT + 24 * HOUR + 9 * HOUR) == pytest.approx(12, rel=0.05)
    assert demand.forecast(MIDNIGHT + 24 * HOUR + 8 * HOUR) == pytest.approx(0, abs=0.1)
    assert now == MIDNIGHT + 33 * HOUR - 600
    assert demand.rate < 0.1
    assert demand.expected(now, 700) == pytest.approx(12, rel=0.05)  # nine o'clock comes


def test_the_latest_days_count_most() -> None:
    demand = Demand(since=MIDNIGHT)
    now = MIDNIGHT
    for per_minute in (10, 20, 20, 20, 20, 20, 20, 20):
        now = traffic(demand, now, HOUR, per_minute)
        now = traffic(demand, now, 23 * HOUR, 0)
    assert demand.forecast(now) == pytest.approx(20, rel=0.1)


def test_a_short_part_of_an_hour_says_nothing() -> None:
    demand = Demand(since=MIDNIGHT + HOUR - 60)
    now = traffic(demand, MIDNIGHT + HOUR - 60, 60, 600)
    traffic(demand, now, HOUR, 1)
    assert demand.forecast(MIDNIGHT) is None


def test_sums_of_the_last_hour_forget_what_is_older() -> None:
    demand = Demand(since=MIDNIGHT)
    demand.count(Sums(requests=5, cold=2, waited=1, wait=3.0), MIDNIGHT + 10)
    demand.count(Sums(requests=7), MIDNIGHT + 1200)
    assert demand.lately(MIDNIGHT + 1200) == (Sums(12, 2, 1, 3.0), 1200.0)
    assert demand.lately(MIDNIGHT + 4000) == (Sums(7, 0, 0, 0.0), HOUR)
    assert demand.last == MIDNIGHT + 1200


def test_no_advice_without_data() -> None:
    demand = Demand(since=MIDNIGHT)
    demand.count(Sums(requests=9, cold=9, waited=9, wait=90.0), MIDNIGHT + 60)
    assert advise("m", demand, MIDNIGHT + 60, load=None, loaded_on=0, present_on=1) == []


def test_no_advice_where_all_is_well() -> None:
    demand = Demand(since=MIDNIGHT)
    demand.count(Sums(requests=100, cold=1, waited=2, wait=0.1), MIDNIGHT + 60)
    assert advise("m", demand, MIDNIGHT + 60, load=5.0, loaded_on=1, present_on=2) == []


def test_advice_tells_its_numbers() -> None:
    demand = Demand(since=MIDNIGHT)
    demand.count(Sums(requests=20, cold=5, waited=4, wait=10.0), MIDNIGHT + 600)
    cold, waits = advise("m", demand, MIDNIGHT + 600, load=7.5, loaded_on=1, present_on=3)
    assert (cold.kind, waits.kind) == ("cold_loads", "queue_waits")
    assert cold.reason.startswith("5 of 20 requests in 10 min (2.0 per minute)")
    assert "7.5 s" in cold.reason
    assert cold.figures == {"requestsPerMinute": 2.0, "coldShare": 0.25}
    assert "for 2.5 s on average" in waits.reason
    assert "1 of the 3 nodes" in waits.reason
    assert waits.figures == {"requestsPerMinute": 2.0, "waitShare": 0.2, "meanWait": 2500.0}
    unmeasured = advise("m", demand, MIDNIGHT + 600, load=None, loaded_on=3, present_on=3)
    assert "takes" not in unmeasured[0].reason
    assert "all 3 nodes" in unmeasured[1].reason
