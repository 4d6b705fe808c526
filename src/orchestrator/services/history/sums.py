"""Sums of rollups, and the figures that follow from them. Latencies are in milliseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from orchestrator.domain.histogram import Histogram
from orchestrator.ports.history import Rollup

K = TypeVar("K", bound=Hashable)

TOKENS = ("prompt_tokens", "completion_tokens")


class Sums:
    """What several rollups come to."""

    def __init__(self) -> None:
        self.requests = self.answered = self.errors = self.cancelled = self.streams = self.chunks = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.queue_wait_sum = 0.0
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
        self.queue_wait_sum += one.queue_wait_sum
        _merge(self.durations, one.durations, one.duration_sum)
        _merge(self.ttfts, one.ttfts, one.ttft_sum)
        self.failures.update(one.failures)

    def merge(self, other: Sums) -> None:
        for name in ("requests", "answered", "errors", "cancelled", "streams", "chunks", *TOKENS, "queue_wait_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        _merge(self.durations, tuple(other.durations.counts), other.durations.total)
        _merge(self.ttfts, tuple(other.ttfts.counts), other.ttfts.total)
        self.failures.update(other.failures)

    @property
    def avg_latency(self) -> float:
        """Of answered requests; 0 without any, as in the contract."""
        return _mean(self.durations)

    @property
    def avg_ttft(self) -> float:
        return _mean(self.ttfts)

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


def _merge(into: Histogram, counts: tuple[int, ...], total: float) -> None:
    if any(counts):
        into.counts = [a + b for a, b in zip(into.counts, counts, strict=True)]
        into.total += total


def _mean(histogram: Histogram) -> float:
    count = histogram.count
    return round(histogram.total / count * 1000, 1) if count else 0.0
