"""A histogram with fixed bounds: one bisection a value, rendered only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left

# Seconds. From a cached embedding to a long answer of a large model.
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts values by upper bound, like a Prometheus histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The value below which a share `q` of the observations lies, linear within a bucket (the rule of
        Prometheus' `histogram_quantile`); None without observations."""
        rank = q * self.count
        if not rank:
            return None
        seen = 0
        for index, bound in enumerate(self.bounds):
            here = self.counts[index]
            if seen + here >= rank:
                low = self.bounds[index - 1] if index else 0.0
                return low + (bound - low) * (rank - seen) / here
            seen += here
        return self.bounds[-1]
