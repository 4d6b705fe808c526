"""Sums of the history by less than everything, and how many there are of each step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from orchestrator.ports.history import BUCKETS, DAY, EMPTY, EVERY, HOUR, MINUTE, HistoryBatch, Retention, Rollup
from orchestrator.ports.store import Storage

T0 = 1_763_683_200  # a whole hour
HIT = tuple(int(bucket == 3) for bucket in range(BUCKETS))


def one(start: int, node: str, model: str, endpoint: str = "chat") -> Rollup:
    failures = {"timeout": 1}
    return Rollup(start, node, model, endpoint, 3, 2, 1, 0, 1, 5, 10, 20, 1.5, 0.5, 0.25, HIT, HIT, failures)


SUMS = (
    one(T0, "a", "m"),
    one(T0, "a", "n"),
    one(T0 + 60, "b", "m"),
    one(T0 + 60, "b", "m", "embeddings"),
    one(T0 + HOUR, "a", "m"),
    one(T0 + HOUR + 120, "b", "n"),
)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ((), {("", "", ""): 6}),
        (("node",), {("a", "", ""): 3, ("b", "", ""): 3}),
        (("model",), {("", "m", ""): 4, ("", "n", ""): 2}),
        (("endpoint",), {("", "", "chat"): 5, ("", "", "embeddings"): 1}),
        (("node", "model"), {("a", "m", ""): 2, ("a", "n", ""): 1, ("b", "m", ""): 2, ("b", "n", ""): 1}),
    ],
)
async def test_by_less_than_everything(
    storage: Storage, by: Sequence[str], keys: dict[tuple[str, str, str], int]
) -> None:
    await storage.history.append(HistoryBatch(rollups=SUMS))
    for step, brief in product((0, MINUTE, HOUR, DAY), (False, True)):
        await check_sums(storage, by, keys, brief, step)


async def check_sums(
    storage: Storage, by: Sequence[str], keys: dict[tuple[str, str, str], int], brief: bool, step: int
) -> None:
    since, until = T0 - HOUR, T0 + 2 * HOUR + 30
    found = await storage.history.rollups(since=since, until=until, step=step, by=by, brief=brief)
    assert list(found) == sorted(found, key=lambda rollup: (rollup.start, rollup.node, rollup.model, rollup.endpoint))
    counted: dict[tuple[str, str, str], int] = {}
    for rollup in found:
        times = rollup.requests // 3
        key = rollup.node, rollup.model, rollup.endpoint
        counted[key] = counted.get(key, 0) + times
        assert (rollup.answered, rollup.errors, rollup.completion_tokens) == (2 * times, times, 20 * times)
        assert rollup.duration_sum == pytest.approx(1.5 * times)
        assert rollup.durations == (EMPTY if brief else tuple(count * times for count in HIT))
        assert rollup.failures == ({} if brief else {"timeout": times})
        assert rollup.start == (rollup.start - rollup.start % step if step else since)
    assert counted == keys


async def test_of_nothing_there_are_no_sums(storage: Storage) -> None:
    await storage.history.append(HistoryBatch(rollups=SUMS))
    for brief in (False, True):
        nothing: dict[str, Any] = {"since": T0 - 2 * DAY, "until": T0 - DAY, "step": 0, "brief": brief}
        assert await storage.history.rollups(**nothing, by=()) == ()


@pytest.mark.parametrize("folded", [False, True])
async def test_counts_are_those_of_the_sums(storage: Storage, folded: bool) -> None:
    await storage.history.append(HistoryBatch(rollups=SUMS))
    if folded:
        kept = Retention(40 * DAY, 10**6, 40 * DAY, 10**6, HOUR, 40 * DAY)
        await storage.history.prune(kept, float(T0 + 2 * HOUR), 1)
    pairs = ((None, None), ("a", None), ("b", "n"), ("nobody", None))
    steps = (MINUTE, 5 * MINUTE, HOUR, DAY)
    for since, step, (node, model) in product((T0 - 3 * DAY, T0 + 30, T0 + 60), steps, pairs):
        asked: dict[str, Any] = {"since": since, "until": T0 + HOUR + 180, "step": step, "node": node, "model": model}
        found = await storage.history.rollups(**asked, by=EVERY)
        starts = [rollup.start for rollup in found]
        counts = await storage.history.rollup_counts(**asked)
        assert dict(counts) == {start: starts.count(start) for start in starts}
        assert list(counts) == sorted(counts)
