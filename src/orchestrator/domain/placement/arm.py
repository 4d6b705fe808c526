"""One arm of the bandit: how long a kind of request takes on one node, as a function of how loaded the node is."""

from __future__ import annotations

from math import exp, log, sqrt

DISCOUNT = 0.98  # per observation: about the last 50 count, so that a node that changed is learned again
PRIOR_STRENGTH = 0.25  # observations that the prior is worth; small, so that unknown nodes are explored
PRIOR_SLOPE = 1.0  # a full node is expected to take e times as long as an empty one
NOISE = 0.5  # standard deviation of log(duration) at a given load
SIZE_LIMITS = (512, 4096)  # tokens


def size_class(tokens: int) -> int:
    """0 small or unknown, 1 medium, 2 large."""
    if tokens <= SIZE_LIMITS[0]:
        return 0
    return 1 if tokens <= SIZE_LIMITS[1] else 2


class Arm:
    """Discounted Bayesian linear regression of log(duration in s) on load (0..1): linear Thompson sampling in two
    dimensions (Agrawal and Goyal 2013), in closed form."""

    __slots__ = ("count", "sx", "sxx", "sxy", "sy")

    def __init__(self) -> None:
        self.count = self.sx = self.sxx = self.sy = self.sxy = 0.0

    def learn(self, load: float, duration: float) -> None:
        y = log(duration) if duration > 1e-3 else -6.9
        self.count = self.count * DISCOUNT + 1.0
        self.sx = self.sx * DISCOUNT + load
        self.sxx = self.sxx * DISCOUNT + load * load
        self.sy = self.sy * DISCOUNT + y
        self.sxy = self.sxy * DISCOUNT + load * y

    def duration(self, load: float, prior: float, z: float) -> float:
        """Seconds at this load, `z` standard deviations of our ignorance from the mean; `prior` is log(seconds)."""
        a = self.count + PRIOR_STRENGTH
        b = self.sx
        d = self.sxx + PRIOR_STRENGTH
        determinant = a * d - b * b
        u = self.sy + PRIOR_STRENGTH * prior
        v = self.sxy + PRIOR_STRENGTH * PRIOR_SLOPE
        mean = (d * u - b * v + load * (a * v - b * u)) / determinant
        spread = (d - 2.0 * load * b + load * load * a) / determinant
        return exp(mean + z * NOISE * sqrt(spread))
