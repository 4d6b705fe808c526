"""How often to try again, how long to wait before it, and how much of the traffic retries may become."""

from __future__ import annotations

from dataclasses import dataclass

_SLOTS = 10


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and pauses of one request. Seconds."""

    max_attempts: int = 3
    base_delay: float = 0.5
    multiplier: float = 2.0
    max_delay: float = 5.0

    def delay(self, attempts: int, rand: float) -> float:
        """The pause after the `attempts`-th failed attempt (1 = the first): full jitter, `rand` in [0, 1).

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        ceiling = self.base_delay
        for _ in range(min(attempts - 1, 64)):
            if ceiling >= self.max_delay:
                break
            ceiling *= self.multiplier
        return min(ceiling, self.max_delay) * rand

    def may_retry(self, attempts: int) -> bool:
        """Whether another attempt is allowed after `attempts` of them."""
        return attempts < self.max_attempts


class RetryBudget:
    """Keeps retries from multiplying an overload: at most `ratio` of the requests of the last `window` seconds,
    and never less than `min_per_second`, so that a quiet fleet may retry too. `now` is monotonic seconds.
    """

    __slots__ = ("_marks", "_requests", "_retries", "_slot", "min_per_second", "ratio", "refused", "window")

    def __init__(self, ratio: float = 0.2, min_per_second: float = 1.0, window: float = 10.0) -> None:
        self.ratio = ratio
        self.min_per_second = min_per_second
        self.window = window
        self.refused = 0
        self._slot = 0
        self._marks = [[0, 0] for _ in range(_SLOTS)]
        self._requests = 0
        self._retries = 0

    def request(self, now: float, count: int = 1) -> None:
        """Counts the first attempts of requests."""
        slot = int(now * _SLOTS / self.window)
        if slot != self._slot:
            self._roll(slot)
        self._marks[slot % _SLOTS][0] += count
        self._requests += count

    def may_retry(self, now: float) -> bool:
        """Whether one more retry fits, and if so counts it."""
        slot = int(now * _SLOTS / self.window)
        if slot != self._slot:
            self._roll(slot)
        if self._retries + 1 > max(self._requests * self.ratio, self.min_per_second * self.window):
            self.refused += 1
            return False
        self._marks[slot % _SLOTS][1] += 1
        self._retries += 1
        return True

    def resize(self, ratio: float, min_per_second: float) -> None:
        """Changes the limits of a running budget."""
        self.ratio = ratio
        self.min_per_second = min_per_second

    def _roll(self, slot: int) -> None:
        passed = slot - self._slot
        self._slot = slot
        marks = self._marks
        for step in range(min(passed, _SLOTS) if passed > 0 else _SLOTS):
            mark = marks[(slot - step) % _SLOTS]
            self._requests -= mark[0]
            self._retries -= mark[1]
            mark[0] = mark[1] = 0
