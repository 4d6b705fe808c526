"""How fast a queue is served while there is something to serve."""

from __future__ import annotations

from math import exp

_HORIZON = 30.0  # seconds; older measurements fade


class DrainRate:
    """Served requests per second of backlog: idle time says nothing about the fleet's speed and is left out."""

    __slots__ = ("_busy", "_served", "_since")

    def __init__(self) -> None:
        self._served = 0.0
        self._busy = 0.0
        self._since = 0.0

    def begin(self, now: float) -> None:
        """Somebody waits where nobody did."""
        self._since = now

    def served(self, now: float) -> None:
        """One of those who wait was served."""
        passed = max(now - self._since, 0.0)
        self._since = now
        faded = exp(-passed / _HORIZON)
        self._served = self._served * faded + 1.0
        self._busy = self._busy * faded + passed

    @property
    def rate(self) -> float | None:
        """Requests per second, None before the first measurement."""
        return self._served / self._busy if self._busy > 0 else None

    def seconds_for(self, count: int, now: float, backlog: bool) -> float:
        """How long `count` requests take at this rate. With a backlog, the time since the last one was served counts
        too, so that a standstill shows. One second each before anything was measured."""
        idle = max(now - self._since, 0.0) if backlog else 0.0
        return count * (self._busy + idle) / self._served if self._served else max(float(count), idle)
