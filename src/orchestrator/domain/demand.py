"""How much each model is asked for: counted minute by minute, remembered hour by hour, and what that says of later.

All times are seconds since the epoch; hours of the day are UTC's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import exp2

MINUTE = 60.0
HOUR = 3600.0
MINUTES_KEPT = 60
RATE_HALF_LIFE = 300.0  # s, of the current rate
HOUR_WEIGHT = 0.3  # of the latest day, in an hour's usual rate
ENOUGH = 10  # requests below which nothing is concluded


@dataclass(slots=True)
class Sums:
    """What happened to the requests for one model. `waited` of them had to queue, for `wait` seconds together; `cold`
    of them came to a node that had to load the model first."""

    requests: int = 0
    cold: int = 0
    waited: int = 0
    wait: float = 0.0

    def add(self, more: Sums) -> None:
        self.requests += more.requests
        self.cold += more.cold
        self.waited += more.waited
        self.wait += more.wait


@dataclass(slots=True)
class Demand:
    """The demand for one model."""

    since: float  # when counting began
    rate: float = 0.0  # requests per minute, lately
    hours: dict[int, float] = field(default_factory=dict)  # hour of the day -> its usual requests per minute
    last: float = 0.0  # when the last requests were counted, 0 for never
    _at: float = 0.0
    _minutes: deque[tuple[float, Sums]] = field(default_factory=lambda: deque(maxlen=MINUTES_KEPT))
    _hour: float = -1.0  # the hour under way, as hours since the epoch
    _hour_began: float = 0.0
    _hour_count: int = 0

    def count(self, sums: Sums, now: float) -> None:
        """Adds what has happened since the last call; call it every few seconds, with nothing too."""
        self._smooth(sums.requests, now)
        self._turn(now)
        self._hour_count += sums.requests
        if sums.requests:
            self.last = now
        if not (sums.requests or sums.cold or sums.waited):
            return
        minute = now // MINUTE * MINUTE
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, Sums()))
        self._minutes[-1][1].add(sums)

    def _smooth(self, requests: int, now: float) -> None:
        began = self._at or self.since
        span = max(now - began, 1e-3)
        self._at = now
        keep = exp2(-span / RATE_HALF_LIFE)
        # Before a half-life has passed the plain mean of the time counted is better than a value pulled to zero.
        age = now - self.since
        seen = 1.0 - exp2(-max(age, span) / RATE_HALF_LIFE)
        known = 1.0 - exp2(-max(began - self.since, 0.0) / RATE_HALF_LIFE)
        total = self.rate * known * keep + requests / span * MINUTE * (1.0 - keep)
        self.rate = total / seen

    def _turn(self, now: float) -> None:
        """Closes the hour that is over: it joins the same hour of the days before."""
        hour = now // HOUR
        if hour == self._hour:
            return
        if self._hour >= 0:
            # A part of an hour says little of it, unless it was the most of it.
            counted = min((self._hour + 1) * HOUR, now) - self._hour_began
            if counted >= HOUR / 2:
                _learn(self.hours, self._hour, self._hour_count / counted * MINUTE)
        self._hour, self._hour_began, self._hour_count = hour, now, 0

    def forecast(self, at: float) -> float | None:
        """Requests per minute that are usual at that time of the day; None where no such hour was seen yet."""
        return self.hours.get(int(at // HOUR % 24))

    def expected(self, now: float, ahead: float) -> float:
        """Requests per minute in the next `ahead` seconds: the more of what comes in now and of what is usual then."""
        return max(self.rate, self.forecast(now + ahead) or 0.0)

    def lately(self, now: float, seconds: float = HOUR) -> tuple[Sums, float]:
        """What happened within the last `seconds` (an hour at most), and how many of these were counted."""
        total = Sums()
        for minute, sums in self._minutes:
            if minute + MINUTE > now - seconds:
                total.add(sums)
        return total, min(seconds, max(now - self.since, 0.0))


def usual_rates(counts: Mapping[int, int], hours: Iterable[int]) -> dict[int, float]:
    """`Demand.hours` as whole hours that are over make them. `hours` are those that count, the oldest first;
    `counts` are the requests of those that had any. Both by the hour's number since the epoch."""
    found: dict[int, float] = {}
    for hour in hours:
        _learn(found, hour, counts.get(hour, 0) / HOUR * MINUTE)
    return found


def _learn(usual: dict[int, float], hour: float, rate: float) -> None:
    of_day = int(hour % 24)
    known = usual.get(of_day)
    usual[of_day] = rate if known is None else known + (rate - known) * HOUR_WEIGHT


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that an operator may want to change about one model, in words with the numbers behind it."""

    model: str
    kind: str  # cold_loads, queue_waits
    reason: str
    figures: dict[str, float]


COLD_SHARE = 0.05
WAIT_SHARE = 0.1


def advise(
    model: str, demand: Demand, now: float, *, load: float | None, loaded_on: int, present_on: int
) -> list[Advice]:
    """`load` is the measured time of a load in seconds; `loaded_on` of `present_on` nodes have it in memory."""
    sums, span = demand.lately(now)
    if sums.requests < ENOUGH:
        return []
    minutes = max(span / MINUTE, 1.0)
    per_minute = sums.requests / minutes
    told = f"{sums.requests} requests in {minutes:.0f} min ({per_minute:.1f} per minute)"
    figures = {"requestsPerMinute": round(per_minute, 3)}
    found: list[Advice] = []
    cold = sums.cold / sums.requests
    if cold >= COLD_SHARE:
        reason = _cold(f"{sums.cold} of {told}", load)
        found.append(Advice(model, "cold_loads", reason, figures | {"coldShare": round(cold, 4)}))
    share = sums.waited / sums.requests
    if share >= WAIT_SHARE:
        mean = sums.wait / sums.waited
        reason = _waits(f"{sums.waited} of {told}", mean, loaded_on, present_on)
        waits = {"waitShare": round(share, 4), "meanWait": round(mean * 1000, 1)}
        found.append(Advice(model, "queue_waits", reason, figures | waits))
    return found


def _cold(told: str, load: float | None) -> str:
    seconds = f", which takes {load:.1f} s" if load is not None else ""
    return (
        f"{told} came when the model was not in memory and began a load{seconds}: "
        "keep it in memory for longer (models.keep_alive_for) or warm it up ahead (models.prewarm)."
    )


def _waits(told: str, mean: float, loaded_on: int, present_on: int) -> str:
    more = (
        f"it is in memory on {loaded_on} of the {present_on} nodes that have it: warm it up on another"
        if loaded_on < present_on
        else f"it is in memory on all {present_on} nodes that have it: put it on another node"
    )
    return f"{told} had to wait in the queue, for {mean:.1f} s on average; {more}."
