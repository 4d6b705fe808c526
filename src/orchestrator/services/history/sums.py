"""Sums of rollups, and the figures that follow from them. Latencies are in milliseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import add
from typing import TypeVar

from orchestrator.domain.histogram import Histogram
from orchestrator.ports.history import EMPTY, Rollup

K = TypeVar("K", bound=Hashable)

PAIRS = ("node", "model")  # to sum up by
COUNTS = ("requests", "answered", "errors", "cancelled", "streams", "chunks", "prompt_tokens", "completion_tokens")
SUMS = ("duration_sum", "ttft_sum", "queue_wait_sum")


class Sums:
    """What several rollups come to. Of brief ones there are no quantiles, first tokens and failures."""

    def __init__(self) -> None:
        self.requests = self.answered = self.errors = self.cancelled = self.streams = self.chunks = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.duration_sum = self.ttft_sum = self.queue_wait_sum = 0.0
        self.durations, self.ttfts = Histogram(), Histogram()
        self.failures: Counter[str] = Counter()

    def add(self, one: Rollup) -> None:
        self.requests += one.requests
        self.answered += one.answered
        self.errors += one.errors
        self.cancelled += one.cancelled
        self.streams += one.streams
        self.chunks += one.chunks
        self.prompt_tokens += one.prompt_tokens
        self.completion_tokens += one.completion_tokens
        self.duration_sum += one.duration_sum
        self.ttft_sum += one.ttft_sum
        self.queue_wait_sum += one.queue_wait_sum
        if one.durations is not EMPTY:
            _merge(self.durations, one.durations)
        if one.ttfts is not EMPTY:
            _merge(self.ttfts, one.ttfts)
        if one.failures:
            self.failures.update(one.failures)

    def merge(self, other: Sums) -> None:
        for name in (*COUNTS, *SUMS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        _merge(self.durations, other.durations.counts)
        _merge(self.ttfts, other.ttfts.counts)
        self.failures.update(other.failures)

    @property
    def avg_latency(self) -> float:
        """Of answered requests; 0 without any, as in the contract."""
        return round(self.duration_sum / self.answered * 1000, 1) if self.answered else 0.0

    @property
    def avg_ttft(self) -> float:
        count = self.ttfts.count
        return round(self.ttft_sum / count * 1000, 1) if count else 0.0

    @property
    def error_rate(self) -> float:
        return round(self.errors / self.requests, 6) if self.requests else 0.0

    def latency(self, q: float) -> float:
        """A quantile, linear within the histogram's bucket; 0 without answered requests."""
        value = self.durations.quantile(q)
        return 0.0 if value is None else round(value * 1000, 1)

    def per_request(self, total: int) -> float:
        return round(total / self.answered, 2) if self.answered else 0.0


def summed(rollups: Iterable[Rollup]) -> Sums:
    total = Sums()
    for one in rollups:
        total.add(one)
    return total


def merged(sums: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in sums:
        total.merge(one)
    return total


def grouped(rollups: Iterable[Rollup], key: Callable[[Rollup], K]) -> dict[K, Sums]:
    found: dict[K, Sums] = {}
    for one in rollups:
        found.setdefault(key(one), Sums()).add(one)
    return found


def _merge(into: Histogram, counts: Sequence[int]) -> None:
    into.counts = list(map(add, into.counts, counts))
