"""Which minutes, hours and days make up a time, when older minutes were folded into hours."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400
Part = tuple[int, int, int]  # length, start, end


def rollup_spans(since: float, until: float, step: int, minutes_from: int) -> list[Part]:
    """Whole minutes or hours that begin within the time, each counted once, as (length, start, end).

    Before `minutes_from` (a whole hour) there are no minutes. Where the step allows, hours stand for their minutes and
    days for their hours: there are so many fewer of them. Seconds since the epoch.
    """
    first, end = -int(-since // 1), -int(-until // 1)
    hours_from, hours_to = _up(first, HOUR), min(end, minutes_from)
    if step % HOUR == 0:
        hours_to = max(hours_to, end // HOUR * HOUR)
    if hours_from >= hours_to:
        hours_from = hours_to = max(first, minutes_from)
    parts = [
        (MINUTE, max(first, minutes_from), hours_from),
        *_hours(hours_from, hours_to, step),
        (MINUTE, max(hours_to, minutes_from), end),
    ]
    return [part for part in parts if part[1] < part[2]]


def _hours(start: int, end: int, step: int) -> list[Part]:
    days_from, days_to = _up(start, DAY), end // DAY * DAY
    if step % DAY or days_from >= days_to:
        return [(HOUR, start, end)]
    return [(HOUR, start, days_from), (DAY, days_from, days_to), (HOUR, days_to, end)]


def _up(time: int, length: int) -> int:
    return -(-time // length) * length
