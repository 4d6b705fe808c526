"""The rules a breaker follows, its states, and what a change of state is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, for how long, and what closes it again. Seconds."""

    threshold: int = 5  # failures in a row
    min_threshold: int = 3
    max_threshold: int = 10
    adaptive: bool = True  # lower for failures that do not pass by themselves, higher for those that do
    adjustment: int = 2
    error_rate: float = 0.5  # over `window`, once it holds `min_requests`
    window: float = 60.0
    min_requests: int = 10
    open_time: float = 5.0  # doubled every time it opens again without a recovery in between
    max_open_time: float = 300.0
    max_retry_after: float = 3600.0  # a node's Retry-After is honoured up to this
    half_open_requests: int = 1  # trials at the same time
    recovery_successes: int = 3
    half_open_time: float = 300.0  # a trial without a verdict for this long is given up


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state."""

    at: float
    previous: BreakerState
    state: BreakerState
    reason: str
