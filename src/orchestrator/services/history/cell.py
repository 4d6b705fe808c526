"""One minute of one model on one node while it is still being counted."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from orchestrator.domain.histogram import DURATION_BOUNDS
from orchestrator.ports.history import BUCKETS, EMPTY, Rollup
from orchestrator.ports.record import RequestRecord

MANY = 8
Key = tuple[int, str, str, str]  # start of the minute, node, model, endpoint


class Cell:
    """Mutable, because 20,000 requests a second are added up here."""

    __slots__ = (
        "answered",
        "cancelled",
        "chunks",
        "completion_tokens",
        "duration_sum",
        "durations",
        "errors",
        "failures",
        "prompt_tokens",
        "queue_wait_sum",
        "requests",
        "streams",
        "ttft_sum",
        "ttfts",
    )

    def __init__(self) -> None:
        self.requests = self.answered = self.errors = self.cancelled = self.streams = self.chunks = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.duration_sum = self.ttft_sum = self.queue_wait_sum = 0.0
        self.durations = [0] * BUCKETS
        self.ttfts: list[int] | None = None
        self.failures: dict[str, int] = {}

    def add(self, record: RequestRecord) -> None:
        """Durations and first tokens are those of answered requests; waiting and tokens are everybody's."""
        self.requests += 1
        self.prompt_tokens += record.prompt_tokens
        self.completion_tokens += record.completion_tokens
        if record.queue_wait:
            self.queue_wait_sum += record.queue_wait
        if record.outcome == "ok":
            self.answered += 1
            self.duration_sum += record.duration
            self.durations[bisect_left(DURATION_BOUNDS, record.duration)] += 1
            if record.ttft is not None:
                if self.ttfts is None:
                    self.ttfts = [0] * BUCKETS
                self.ttft_sum += record.ttft
                self.ttfts[bisect_left(DURATION_BOUNDS, record.ttft)] += 1
        elif record.outcome == "cancelled":
            self.cancelled += 1
        else:
            self.errors += 1
            self.failures[record.error] = self.failures.get(record.error, 0) + 1
        if record.stream:
            self.streams += 1
            self.chunks += record.chunks

    def add_answered(self, records: Sequence[RequestRecord]) -> None:
        """The same for many at once, field by field: what the interpreter does in one go is several times faster."""
        if len(records) < MANY:
            for record in records:
                self.add(record)
            return
        self.requests += len(records)
        self.answered += len(records)
        self.prompt_tokens += sum([record.prompt_tokens for record in records])
        self.completion_tokens += sum([record.completion_tokens for record in records])
        self.queue_wait_sum += sum([record.queue_wait for record in records])
        self.streams += sum([record.stream for record in records])
        self.chunks += sum([record.chunks for record in records if record.stream])
        self.duration_sum += _count(self.durations, [record.duration for record in records])
        ttfts = [record.ttft for record in records if record.ttft is not None]
        if ttfts:
            if self.ttfts is None:
                self.ttfts = [0] * BUCKETS
            self.ttft_sum += _count(self.ttfts, ttfts)

    def rollup(self, key: Key) -> Rollup:
        return Rollup(
            *key,
            requests=self.requests,
            answered=self.answered,
            errors=self.errors,
            cancelled=self.cancelled,
            streams=self.streams,
            chunks=self.chunks,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            duration_sum=self.duration_sum,
            ttft_sum=self.ttft_sum,
            queue_wait_sum=self.queue_wait_sum,
            durations=tuple(self.durations),
            ttfts=EMPTY if self.ttfts is None else tuple(self.ttfts),
            failures=self.failures,
        )


def _count(buckets: list[int], values: list[float]) -> float:
    """Adds the values to the buckets of `DURATION_BOUNDS`; their sum."""
    values.sort()
    below = index = 0
    while below < len(values):
        index = bisect_left(DURATION_BOUNDS, values[below], index)
        until = bisect_right(values, DURATION_BOUNDS[index], below) if index < len(DURATION_BOUNDS) else len(values)
        buckets[index] += until - below
        below = until
    return sum(values)
