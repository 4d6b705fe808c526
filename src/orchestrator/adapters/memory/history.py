"""The history of requests in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import msgspec

from orchestrator.domain.rollup_span import DAY, HOUR, MINUTE, rollup_spans
from orchestrator.domain.storable import plain_text
from orchestrator.ports.history import (
    EMPTY,
    EVERY,
    Decision,
    HistoryBatch,
    HistorySize,
    RequestFilter,
    Retention,
    Rollup,
)
from orchestrator.ports.outline import outline
from orchestrator.ports.record import RequestRecord

Key = tuple[int, str, str, str]  # start, node, model, endpoint
COUNTS = ("requests", "answered", "errors", "cancelled", "streams", "chunks", "prompt_tokens", "completion_tokens")
SUMS = ("duration_sum", "ttft_sum", "queue_wait_sum")
REQUEST_BYTES, DECISION_BYTES, ROLLUP_BYTES = 900, 1500, 1200
T = TypeVar("T", RequestRecord, Decision)


class MemoryHistory:
    """`HistoryStore` in lists, the oldest first, and in dicts of sums."""

    def __init__(self) -> None:
        self._requests: list[RequestRecord] = []
        self._decisions: list[Decision] = []
        self._sums: dict[int, dict[Key, Rollup]] = {MINUTE: {}, HOUR: {}, DAY: {}}
        self._minutes_from = 0

    async def append(self, batch: HistoryBatch) -> None:
        for record in batch.requests:
            insort(self._requests, _kept(record), key=_at)
        for decision in batch.decisions:
            insort(self._decisions, msgspec.structs.replace(decision, at=round(decision.at, 6)), key=_at)
        for rollup in batch.rollups:
            for span, sums in self._sums.items():
                if span != MINUTE or rollup.start >= self._minutes_from:
                    _add(sums, rollup, rollup.start - rollup.start % span)

    async def requests(self, wanted: RequestFilter, limit: int, offset: int = 0) -> tuple[RequestRecord, ...]:
        newest = _between(self._requests, wanted.since, wanted.until)
        if wanted.request_id is not None:
            wanted = replace(wanted, request_id=plain_text(wanted.request_id))
        matching = (record for record in newest if _matches(record, wanted))
        return tuple(islice(matching, offset, offset + limit))

    async def decisions(
        self, *, since: float, until: float, limit: int, node: str | None = None, model: str | None = None
    ) -> tuple[Decision, ...]:
        matching = (
            decision
            for decision in _between(self._decisions, since, until)
            if node in (None, decision.node) and model in (None, decision.model)
        )
        return tuple(islice(matching, limit))

    async def rollups(
        self,
        *,
        since: float,
        until: float,
        step: int,
        node: str | None = None,
        model: str | None = None,
        by: Sequence[str] = EVERY,
        brief: bool = False,
    ) -> tuple[Rollup, ...]:
        found: dict[Key, Rollup] = {}
        emptied: dict[str, Any] = {name: "" for name in EVERY if name not in by}
        if brief:
            emptied |= {"durations": EMPTY, "ttfts": EMPTY, "failures": {}}
        for span, start, end in rollup_spans(since, until, step, self._minutes_from):
            for rollup in self._sums[span].values():
                if start <= rollup.start < end and node in (None, rollup.node) and model in (None, rollup.model):
                    begins = rollup.start - rollup.start % step if step else int(since)
                    _add(found, replace(rollup, **emptied), begins)
        return tuple(found[key] for key in sorted(found))

    async def rollup_counts(
        self, *, since: float, until: float, step: int, node: str | None = None, model: str | None = None
    ) -> Mapping[int, int]:
        found = await self.rollups(since=since, until=until, step=step, node=node, model=model, brief=True)
        return Counter(rollup.start for rollup in found)

    async def prune(self, retention: Retention, now: float, rows: int) -> int:
        self._minutes_from = max(self._minutes_from, int(now - retention.minutes_age) // HOUR * HOUR)
        left = rows
        left -= _drop(self._requests, now - retention.requests_age, retention.requests_rows, left)
        left -= _drop(self._decisions, now - retention.decisions_age, retention.decisions_rows, left)
        first_day = int(now - retention.hours_age) // DAY * DAY
        for span, end in ((MINUTE, self._minutes_from), (HOUR, first_day), (DAY, first_day)):
            old = [key for key in self._sums[span] if key[0] < end][: max(0, left)]
            for key in old:
                del self._sums[span][key]
            left -= len(old)
        return rows - left

    async def size(self) -> HistorySize:
        requests, decisions, sums = len(self._requests), len(self._decisions), sum(map(len, self._sums.values()))
        held = requests * REQUEST_BYTES + decisions * DECISION_BYTES + sums * ROLLUP_BYTES
        return HistorySize(requests, decisions, sums, held)


def _at(item: RequestRecord | Decision) -> float:
    return item.at


def _kept(record: RequestRecord) -> RequestRecord:
    texts = {name: plain_text(getattr(record, name)) for name in ("id", "model", "principal", "error", "trace")}
    return outline(msgspec.structs.replace(record, **texts, at=round(record.at, 6), chunks=0))


def _between(items: Sequence[T], since: float | None, until: float | None) -> Iterator[T]:
    """The newest first; without copying what may be many."""
    start = 0 if since is None else bisect_left(items, round(since, 6), key=_at)
    end = len(items) if until is None else bisect_left(items, round(until, 6), key=_at)
    return (items[index] for index in range(end - 1, start - 1, -1))


def _matches(record: RequestRecord, wanted: RequestFilter) -> bool:
    return (
        wanted.node in (None, record.node)
        and wanted.model in (None, record.model)
        and wanted.endpoint in (None, record.endpoint)
        and wanted.principal in (None, record.principal)
        and wanted.outcome in (None, record.outcome)
        and wanted.error in (None, record.error)
        and wanted.success in (None, record.outcome != "error")
        and wanted.retried in (None, len(record.attempts) > 1)
        and wanted.request_id in (None, record.id)
    )


def _add(sums: dict[Key, Rollup], rollup: Rollup, start: int) -> None:
    key = start, rollup.node, rollup.model, rollup.endpoint
    there = sums.get(key, Rollup(*key))
    failures = dict(there.failures)
    for error, count in rollup.failures.items():
        failures[error] = failures.get(error, 0) + count
    added = {name: getattr(there, name) + getattr(rollup, name) for name in (*COUNTS, *SUMS)}
    sums[key] = replace(
        there,
        **added,
        durations=_plus(there.durations, rollup.durations),
        ttfts=_plus(there.ttfts, rollup.ttfts),
        failures=failures,
    )


def _plus(counts: Iterable[int], more: Iterable[int]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(counts, more, strict=True))


def _drop(items: list[T], before: float, kept: int, most: int) -> int:
    count = max(bisect_left(items, before, key=_at), len(items) - kept)
    count = max(0, min(count, most))
    del items[:count]
    return count
