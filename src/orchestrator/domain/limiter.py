"""How much one principal may ask for: requests per time, and requests at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`requests` per `seconds`, evenly; `burst` of them may come at once (None: all)."""

    requests: int
    seconds: float = 60.0
    burst: int | None = None

    @property
    def interval(self) -> float:
        """Seconds that one request costs."""
        return self.seconds / self.requests

    @property
    def capacity(self) -> int:
        return self.requests if self.burst is None else self.burst


class RateVerdict(NamedTuple):
    """The answer to one request, with what the RateLimit header fields need. Seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset: float  # until the whole capacity is back
    retry_after: float | None = None  # until the next request would pass; only when refused


class RateLimiter:
    """GCRA: one number per principal, the theoretical arrival time of the next request that keeps the rate.

    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm. `now` is monotonic seconds. Who has its whole capacity
    back needs no entry, so a full map first drops those; only if everybody is busy does it forget its oldest entries.
    """

    __slots__ = ("_arrivals", "_spent", "max_keys")

    def __init__(self, max_keys: int = 10_000) -> None:
        self.max_keys = max_keys
        self._arrivals: dict[str, float] = {}
        self._spent: dict[str, float] | None = None

    def __len__(self) -> int:
        return len(self._arrivals)

    def take(self, key: str, limit: RateLimit, now: float, cost: int = 1) -> RateVerdict:
        """Counts a request, if it passes."""
        capacity = limit.capacity
        if limit.requests <= 0 or capacity < cost:
            return RateVerdict(False, max(capacity, 0), 0, limit.seconds, limit.seconds)
        interval = limit.seconds / limit.requests
        arrivals = self._arrivals
        due = arrivals.get(key, now)
        if due < now:
            due = now
        after = due + cost * interval
        excess = after - now - capacity * interval
        if excess > 1e-9:  # rounding of the sum must not cost a request
            return RateVerdict(False, capacity, max(int(capacity - (due - now) / interval), 0), due - now, excess)
        if key not in arrivals and len(arrivals) >= self.max_keys:
            self._make_room(now)
        arrivals[key] = after
        if self._spent is not None:
            self._spent[key] = self._spent.get(key, 0.0) + cost * interval
        used = after - now
        return RateVerdict(True, capacity, int(capacity - used / interval + 1e-9), used)

    def tell_spent(self) -> None:
        """From now on counts what is spent, for `take_spent`."""
        if self._spent is None:
            self._spent = {}

    def take_spent(self) -> dict[str, float]:
        """What each principal has spent since the last time, in seconds of its rate."""
        spent, self._spent = self._spent or {}, {}
        return spent

    def spend(self, key: str, seconds: float, now: float) -> None:
        """Counts what a principal has spent elsewhere, in seconds of its rate."""
        if key not in self._arrivals and len(self._arrivals) >= self.max_keys:
            self._make_room(now)
        self._arrivals[key] = max(self._arrivals.get(key, now), now) + seconds

    def forget(self, key: str) -> None:
        """Gives a principal its whole capacity back: its limit changed, or its key is gone."""
        self._arrivals.pop(key, None)

    def _make_room(self, now: float) -> None:
        kept = {key: due for key, due in self._arrivals.items() if due > now}
        if len(kept) >= self.max_keys:
            busiest_last = sorted(kept.items(), key=lambda item: item[1])
            kept = dict(busiest_last[len(kept) - self.max_keys * 9 // 10 :])
        self._arrivals = kept


class ConcurrencyCap:
    """Requests of each principal that are under way."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[str, int] = {}

    def acquire(self, key: str, cap: int | None) -> bool:
        """Counts one more, unless that is over `cap` (None: no cap). For every True exactly one `release` is due."""
        running = self._running.get(key, 0)
        if cap is not None and running >= cap:
            return False
        self._running[key] = running + 1
        return True

    def release(self, key: str) -> None:
        running = self._running.get(key, 0)
        if running <= 1:
            self._running.pop(key, None)
        else:
            self._running[key] = running - 1

    def running(self, key: str) -> int:
        return self._running.get(key, 0)
