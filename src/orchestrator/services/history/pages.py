"""Sums page by page: only the steps that a page touches are read."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.ports.history import Rollup
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.window import Window


async def sums_page(
    analytics: Analytics, window: Window, step: int, node: str | None, model: str | None, limit: int, offset: int
) -> tuple[int, Sequence[Rollup]]:
    """How many sums by step, server, model and endpoint the window has, and those from `offset` on."""
    store = await analytics.caught_up()
    counts = await store.rollup_counts(since=window.since, until=window.until, step=step, node=node, model=model)
    total = before = 0
    touched: list[int] = []
    for start, count in counts.items():
        if total + count <= offset:
            before += count
        elif total < offset + limit:
            touched.append(start)
        total += count
    if not touched:
        return total, ()
    since, until = max(window.since, touched[0]), min(window.until, touched[-1] + step)
    found = await store.rollups(since=since, until=until, step=step, node=node, model=model)
    first = offset - before
    return total, found[first : first + limit]
