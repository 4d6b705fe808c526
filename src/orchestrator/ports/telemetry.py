"""What the service tells about itself: numbers in families, and finished requests for logs and traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """How a number behaves."""

    COUNTER = "counter"  # only grows; its name ends in _total
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a name means. `help` names the unit where the metric's own name does not."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram at one moment. `counts` has one entry per bound, not cumulative, and one for what is above."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one metric; a sample's label values stand in the order of the metric's labels."""

    name: str
    metric: Metric
    samples: Sequence[tuple[tuple[str, ...], float | Distribution]]


class Exposition(Protocol):
    """A text format for families."""

    def render(self, families: Iterable[Family], accept: str) -> tuple[str, bytes]:
        """The content type and the body, in the form that an Accept header asks for. May run in any thread."""
        ...


class FinishedAttempt(Protocol):
    """One try on one node. `started` and `ended` are monotonic seconds; `ended` is 0 where nobody noted it."""

    @property
    def node_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def ended(self) -> float: ...
    @property
    def status(self) -> int: ...
    @property
    def kind(self) -> str: ...


class FinishedRequest(Protocol):
    """A request that is over, without its content. Durations in seconds, `at` in seconds since the epoch."""

    @property
    def id(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def stream(self) -> bool: ...
    @property
    def duration(self) -> float: ...
    @property
    def queue_wait(self) -> float: ...
    @property
    def ttft(self) -> float | None: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def estimated(self) -> bool: ...
    @property
    def attempts(self) -> Sequence[FinishedAttempt]: ...
    @property
    def error(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def continuations(self) -> int: ...
    @property
    def trace(self) -> str: ...


class RequestSink(Protocol):
    """Takes finished requests; called once for each, on the event loop, so it must cost next to nothing."""

    def add(self, record: FinishedRequest) -> None: ...

    def close(self) -> None:
        """Hands on what is still held. May wait for a bounded time."""
        ...
