"""A straight line through points, and how much it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from operator import mul

LEAST_POINTS = 3
ENOUGH_POINTS = 10  # from here on the number of points no longer lowers the confidence
NOTICEABLE = 0.1  # change over the whole time, relative to the mean
TRUSTED = 0.3  # confidence from which a slope counts as one


@dataclass(frozen=True, slots=True)
class Line:
    """`slope` is per unit of x; `confidence` is R² scaled by the number of points, 0 where there are too few."""

    slope: float = 0.0
    intercept: float = 0.0
    confidence: float = 0.0
    direction: str = "stable"  # increasing, decreasing

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """Least squares (Draper and Smith, Applied Regression Analysis, chapter 1)."""
    count = len(points)
    if not count:
        return Line()
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    spread_y = sum((y - mean_y) ** 2 for _, y in points)
    if count < LEAST_POINTS or not spread_x:
        return Line(intercept=mean_y)
    both = sum((x - mean_x) * (y - mean_y) for x, y in points)
    slope = both / spread_x
    explained = min(1.0, both * both / (spread_x * spread_y)) if spread_y else 1.0
    confidence = explained * min(1.0, count / ENOUGH_POINTS)
    change = slope * (max(x for x, _ in points) - min(x for x, _ in points))
    noticeable = abs(change) > NOTICEABLE * abs(mean_y) and confidence >= TRUSTED and change != 0
    direction = "stable" if not noticeable else "increasing" if change > 0 else "decreasing"
    return Line(slope, mean_y - slope * mean_x, round(confidence, 4), direction)


def correlation(points: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's r; None where one side never varies or there are too few points."""
    count = len(points)
    if count < LEAST_POINTS:
        return None
    # The interpreter adds up lists several times faster than it goes through them.
    x_of, y_of = [x for x, _ in points], [y for _, y in points]
    mean_x, mean_y = sum(x_of) / count, sum(y_of) / count
    from_x, from_y = [x - mean_x for x in x_of], [y - mean_y for y in y_of]
    spread_x, spread_y = sum(map(mul, from_x, from_x)), sum(map(mul, from_y, from_y))
    if not spread_x or not spread_y:
        return None
    together: float = sum(map(mul, from_x, from_y))
    return together / sqrt(spread_x * spread_y)
