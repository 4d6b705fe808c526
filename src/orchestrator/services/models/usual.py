"""What models were usually asked for, hour by hour, as the history tells it after a start."""

from __future__ import annotations

from collections import defaultdict

from orchestrator.domain.demand import usual_rates
from orchestrator.ports.history import DAY, HOUR, HistoryStore

DAYS = 7  # older ones have lost nine tenths of their weight
MOST_SUMS = 100_000  # hours of a model; with very many models fewer days are looked at


async def usual_demand(history: HistoryStore, now: float) -> dict[str, dict[int, float]]:
    """Model -> hour of the day (UTC) -> its usual requests per minute, from the whole hours before `now` (seconds since
    the epoch). A day on which nobody asked for anything says nothing: the service may have been off. Raises
    StorageUnavailable."""
    counts: defaultdict[str, dict[int, int]] = defaultdict(dict)
    end = int(now) // HOUR * HOUR
    hours: list[int] = []
    seen = 0
    for day in range(DAYS):
        until = end - day * DAY
        sums = await history.rollups(since=until - DAY, until=until, step=HOUR, by=("model",), brief=True)
        for one in sums:
            counts[one.model][one.start // HOUR] = one.requests
        if sums:
            hours = [*range((until - DAY) // HOUR, until // HOUR), *hours]
        seen += len(sums)
        if seen >= MOST_SUMS:
            break
    counts.pop("", None)  # of names that clients made up
    return {
        model: usual_rates(found, [hour for hour in hours if hour >= min(found)]) for model, found in counts.items()
    }
