"""How many requests of the last while succeeded and failed, in buckets."""

from __future__ import annotations

_BUCKETS = 12


class BreakerWindow:
    """Successes and failures of the last `seconds`, exact to a twelfth of it. Every call costs O(1)."""

    __slots__ = ("_failed", "_passed", "_per_second", "_slot", "failed", "passed")

    def __init__(self, seconds: float) -> None:
        self._per_second = _BUCKETS / seconds
        self._slot = 0
        self._passed = [0] * _BUCKETS
        self._failed = [0] * _BUCKETS
        self.passed = 0
        self.failed = 0

    def success(self, now: float) -> None:
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._roll(slot)
        self._passed[slot % _BUCKETS] += 1
        self.passed += 1

    def failure(self, now: float) -> None:
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._roll(slot)
        self._failed[slot % _BUCKETS] += 1
        self.failed += 1

    def advance(self, now: float) -> None:
        """Forgets what is too old at `now`, so that the totals may be read."""
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._roll(slot)

    @property
    def requests(self) -> int:
        return self.passed + self.failed

    @property
    def error_rate(self) -> float:
        """0 to 1; 0 without requests."""
        total = self.passed + self.failed
        return self.failed / total if total else 0.0

    def _roll(self, slot: int) -> None:
        gone = slot - self._slot
        self._slot = slot
        if not 0 < gone < _BUCKETS:  # too long ago, or the clock was set back: start anew
            self._passed = [0] * _BUCKETS
            self._failed = [0] * _BUCKETS
            self.passed = self.failed = 0
            return
        for step in range(gone):
            index = (slot - step) % _BUCKETS
            self.passed -= self._passed[index]
            self.failed -= self._failed[index]
            self._passed[index] = self._failed[index] = 0
