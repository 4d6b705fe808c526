"""What the service tells about itself: numbers in families, and where finished requests go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.ports.record import RequestRecord


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


class RequestSink(Protocol):
    """Takes finished requests; called once for each, on the event loop, so it must cost next to nothing."""

    def add(self, record: RequestRecord) -> None: ...

    def close(self) -> None:
        """Hands on what is still held. May wait for a bounded time."""
        ...
