"""The time that an answer is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.history import DAY, HOUR, MINUTE

RANGES = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
CUSTOM = "custom"
# Beyond ten hours of five minutes, hours: they are summed up already, a day of minutes would be read one by one.
STEPS = (MINUTE, 5 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY)
POINTS = 120  # of a curve, about
LATEST = 253_402_300_800.0  # the year 10000, in seconds since the epoch


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` on, before `until`: seconds since the epoch."""

    since: float
    until: float
    name: str = CUSTOM

    @property
    def seconds(self) -> float:
        return self.until - self.since

    @property
    def step(self) -> int:
        """Seconds between two points of a curve over the window."""
        return next((step for step in STEPS if self.seconds / step <= POINTS), DAY)

    @classmethod
    def last(cls, seconds: float, now: float, name: str = CUSTOM) -> Window:
        """The time up to now, from the whole minute on; beyond a day from the whole hour on, as older sums are."""
        return cls(_whole(now - seconds, now), now, name)

    @classmethod
    def parse(cls, name: str, start: str | None, end: str | None, now: float) -> Window:
        """A `timeRange` with its `startTime` and `endTime`, which make it `custom`. Raises InvalidRequest."""
        if name != CUSTOM and name not in RANGES:
            raise InvalidRequest(f"timeRange must be one of {', '.join(RANGES)} or {CUSTOM}.")
        if start is None and end is None:
            if name == CUSTOM:
                raise InvalidRequest("timeRange custom needs startTime, and may have endTime.")
            return cls.last(RANGES[name], now, name)
        until = now if end is None else moment(end, "endTime")
        since = until - RANGES.get(name, DAY) if start is None else moment(start, "startTime")
        if since >= until:
            raise InvalidRequest("startTime must be before endTime.")
        return cls(_whole(since, now), until)


def moment(text: str, name: str) -> float:
    """Seconds since the epoch of a number of milliseconds or a date in ISO 8601 (UTC where it names no zone)."""
    try:
        value = float(text) / 1000
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
            value = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise InvalidRequest(f"{name} must be milliseconds since the epoch or a date in ISO 8601.") from None
    if not isfinite(value) or not 0 <= value < LATEST:
        raise InvalidRequest(f"{name} is out of range.")
    return value


def _whole(since: float, now: float) -> float:
    unit = HOUR if now - since > DAY else MINUTE
    return max(0.0, since // unit * unit)
