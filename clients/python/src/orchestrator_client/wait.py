"""How long to wait before trying again."""

from __future__ import annotations

import math
import random
import time

BASE = 0.2  # seconds
MOST = 15.0
FIRST_LOOK = 0.05  # seconds until a task is looked at for the second time
LONG = 20.0  # seconds of one request that waits for a task


class Looks:
    """The looks at a task until it has finished: each waits at the service, and where the service does not (it is an
    older one, or stops), some time passes between them."""

    def __init__(self, timeout: float | None, poll_interval: float) -> None:
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._most = poll_interval
        self._pause = min(FIRST_LOOK, poll_interval)
        self._long = LONG
        self._asked = 0.0
        self._wait = 0.0

    @property
    def _left(self) -> float:
        return math.inf if self._ends is None else max(0.0, self._ends - time.monotonic())

    def ask(self) -> float:
        """Seconds that the next look may wait at the service."""
        self._asked = time.monotonic()
        self._wait = min(self._long, self._left)
        return self._wait

    def refused(self) -> bool:
        """The service has too many that wait: from now on it is asked now and then. False: that was no wait."""
        waited, self._long = self._wait > 0.0, 0.0
        return waited

    def again(self) -> float | None:
        """Seconds until the next look, after one that did not see the end; None: the time is over."""
        early = (self._wait or self._most) - (time.monotonic() - self._asked)
        left = self._left
        if left <= 0.0:
            return None
        if early <= 0.0:
            return 0.0
        wait = min(self._pause, early, left)
        self._pause = min(self._pause * 1.5, self._most)
        return wait


def pause(failures: int, retry_after: float | None = None, *, base: float = BASE, most: float = MOST) -> float:
    """Seconds after so many failures in a row (1: the first): doubled with each, and anywhere in the upper half, so
    that a thousand clients do not come back together. Never before `retry_after`."""
    limit = min(most, base * 2.0 ** min(failures - 1, 30))
    spread = random.uniform(limit / 2.0, limit)  # noqa: S311 - no secret
    return max(spread, (retry_after or 0.0) + spread / 10.0 if retry_after else 0.0)
