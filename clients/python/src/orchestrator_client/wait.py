"""How long to wait before trying again."""

from __future__ import annotations

import random

BASE = 0.2  # seconds
MOST = 15.0


def pause(failures: int, retry_after: float | None = None, *, base: float = BASE, most: float = MOST) -> float:
    """Seconds after so many failures in a row (1: the first): doubled with each, and anywhere in the upper half, so
    that a thousand clients do not come back together. Never before `retry_after`."""
    limit = min(most, base * 2.0 ** min(failures - 1, 30))
    spread = random.uniform(limit / 2.0, limit)  # noqa: S311 - no secret
    return max(spread, (retry_after or 0.0) + spread / 10.0 if retry_after else 0.0)
