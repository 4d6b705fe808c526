"""The durable history of requests and of the decisions about them: what analytics is computed from. Never content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from orchestrator.domain.histogram import DURATION_BOUNDS
from orchestrator.ports.record import RequestRecord

BUCKETS = len(DURATION_BOUNDS) + 1
MINUTE, HOUR, DAY = 60, 3600, 86400
EMPTY = (0,) * BUCKETS
EVERY = ("node", "model", "endpoint")


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One node in the eyes of the policy. `reason` says why it was out of the question, empty when it was not."""

    node: str
    score: float | None
    parts: Mapping[str, float] = msgspec.field(default_factory=dict)
    reason: str = ""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Why a request went where it went. `at` is in seconds since the epoch; candidates come best first."""

    at: float
    request_id: str
    model: str
    node: str
    policy: str
    reason: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one model did on one node within a minute, or a sum of such over a longer time.

    `start` is in seconds since the epoch. `durations` and `ttfts` count answered requests by DURATION_BOUNDS (seconds),
    the sums are in seconds. `failures` counts by the error's code. An empty node: the request reached none.
    """

    start: int
    node: str
    model: str
    endpoint: str
    requests: int = 0
    answered: int = 0
    errors: int = 0
    cancelled: int = 0
    streams: int = 0
    chunks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    duration_sum: float = 0.0
    ttft_sum: float = 0.0
    queue_wait_sum: float = 0.0
    durations: tuple[int, ...] = EMPTY
    ttfts: tuple[int, ...] = EMPTY
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """What is written at once. Rollups are added to those of the same minute, node, model and endpoint."""

    requests: Sequence[RequestRecord] = ()
    decisions: Sequence[Decision] = ()
    rollups: Sequence[Rollup] = ()


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests; None means any. Times are seconds since the epoch, `since` included, `until` not.

    `success` False: those whose outcome is an error. `retried`: more than one attempt. `request_id` is exact.
    """

    since: float | None = None
    until: float | None = None
    node: str | None = None
    model: str | None = None
    endpoint: str | None = None
    principal: str | None = None
    outcome: str | None = None
    success: bool | None = None
    error: str | None = None
    retried: bool | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """What may be kept: ages in seconds, and a number of rows; whatever is less."""

    requests_age: float
    requests_rows: int
    decisions_age: float
    decisions_rows: int
    minutes_age: float
    hours_age: float


@dataclass(frozen=True, slots=True)
class HistorySize:
    """Rows kept, and the bytes of the whole database on disk (or in memory, estimated)."""

    requests: int
    decisions: int
    rollups: int
    bytes: int


class HistoryStore(Protocol):
    """Requests newest first; every method raises `StorageUnavailable` when the database cannot answer."""

    async def append(self, batch: HistoryBatch) -> None:
        """Writes all of the batch in one transaction, or nothing."""

    async def requests(self, wanted: RequestFilter, limit: int, offset: int = 0) -> tuple[RequestRecord, ...]:
        """The newest that match. Attempts are kept only of requests that had trouble (an error, or several attempts);
        of the others one attempt, without its times, is made from the record."""

    async def decisions(
        self, *, since: float, until: float, limit: int, node: str | None = None, model: str | None = None
    ) -> tuple[Decision, ...]:
        """The newest that match; `node` is the one selected."""

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
        """Sums by step (seconds, a multiple of a minute; 0: one sum over the whole time) and by what is named in `by`,
        of node, model and endpoint and in this order; the others are empty in the answer. By rising start. Whole
        minutes that begin within the time count; beyond `minutes_age` whole hours do. `brief`: without `durations`,
        `ttfts` and `failures`, which is several times faster."""

    async def rollup_counts(
        self, *, since: float, until: float, step: int, node: str | None = None, model: str | None = None
    ) -> Mapping[int, int]:
        """How many sums by node, model and endpoint `rollups` has of each step, by rising start."""

    async def prune(self, retention: Retention, now: float, rows: int) -> int:
        """Deletes at most about `rows` rows of what need not be kept, and folds old minutes into hours. Returns how
        many it deleted; 0: nothing is left to do."""

    async def size(self) -> HistorySize:
        """How much there is."""
